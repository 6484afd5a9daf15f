import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ScaleLoad, ScaleReport } from '../fixtures/scale-load.ts';
import { printTable, type Bench } from './bench.ts';
import { buildProgram, reportOf } from './program.ts';

const load: ScaleLoad = { pipelines: 10_000, builds: 400, logBytes: 2 ** 30, artifacts: 100_000 };

/** Whether a lab's memory depends on how much it has to do and has done. */
export const bench: Bench = {
  name: 'scale',
  describe: 'one process with 10,000 queued pipelines, while some make 1 GiB of log and 100,000 artifacts are stored',
  async run() {
    const program = await buildProgram('scale-lab');
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-scale-'));
    try {
      const { samples, logBytes, artifacts, queued } = await age(program, join(folder, 'lab.db'));
      const [start] = samples;
      if (start === undefined) throw new Error('nothing was measured');
      printTable(
        ['at', 'RSS, MB', '÷ start', 'objects in use, MB'],
        samples.map(({ at, rssMb, heapMb }) => [at, rssMb, rssMb / start.rssMb, heapMb]),
      );
      console.log(`${queued} items still ready; ${logBytes} bytes of log read back, ${artifacts} artifacts stored\n`);
      if (logBytes < load.logBytes || artifacts < load.artifacts) throw new Error('less was done than was to be done');
      const highest = Math.max(...samples.map(({ rssMb }) => rssMb));
      return { rss_growth_mb: highest - start.rssMb, rss_ratio: highest / start.rssMb, rss_start_mb: start.rssMb };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/**
 * Before each figure garbage is collected, and the space for new objects is bounded, which V8 lets grow by some 130 MB,
 * nearly all of it empty: what is left is what the lab holds.
 */
async function age(program: string, file: string): Promise<ScaleReport> {
  const args = [file, JSON.stringify(load)];
  return reportOf<ScaleReport>(program, args, ['--expose-gc', '--max-semi-space-size=8']);
}
