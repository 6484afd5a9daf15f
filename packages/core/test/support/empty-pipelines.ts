// Forked by the benchmark `pipelines` with a store's address: runs pipelines whose stages do nothing, as many at a time as it is told.
import { silentLogger, systemClock, type Pipeline } from '@bringup/core';
import { PipelineFlow } from '../../src/pipelines/flow.ts';
import { PipelineManager } from '../../src/pipelines/manager.ts';
import { systemRandom } from '../../src/runtime.ts';
import { postgres } from '../../src/store/postgres-provider.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { workKinds } from '../../src/model/work.ts';
import { WorkEngine } from '../../src/work/engine.ts';

const place = process.argv[2] ?? '';
const provider = place.startsWith('postgres:') ? postgres({ url: place }) : sqlite({ path: place });
const store = await Store.open(provider, systemClock);
const work = new WorkEngine({ store, clock: systemClock, random: systemRandom, logger: silentLogger });
work.registerFlow(new PipelineFlow());
for (const kind of ['build', 'deployment', 'boot', 'testrun', 'release'] as const)
  work.register({ kind, run: async () => ({ output: {} }) });
work.start(workKinds);
const pipelines = new PipelineManager({ store, work });

async function runOne(): Promise<Pipeline> {
  const { id } = await pipelines.createPipeline({
    sourceRepository: 'https://git.example/bsp.git',
    targetArchitecture: 'arm64',
    buildConfig: { recipe: 'make', outputs: [{ type: 'kernel_image', path: 'kernel' }] },
    environmentType: 'qemu',
    tests: { from: 'console' },
  });
  const pipeline = await pipelines.waitForPipeline(id);
  if (pipeline.status !== 'completed') throw new Error(`${pipeline.status}: ${pipeline.errorMessage}`);
  return pipeline;
}

process.on('message', ({ together, ms }: { readonly together: number; readonly ms: number }) => {
  void (async () => {
    const began = performance.now();
    let done = 0;
    const caller = async (): Promise<void> => {
      for (; performance.now() - began < ms; done += 1) await runOne();
    };
    await Promise.all(Array.from({ length: together }, caller));
    process.send?.((done * 1_000) / (performance.now() - began));
  })();
});
process.on('disconnect', () => {
  void (async () => {
    await work[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
  })();
});
process.send?.('ready');
