import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { ScaleLoad, ScaleReport } from '../fixtures/scale-load.ts';
import { printTable, type Bench } from './bench.ts';

const load: ScaleLoad = { pipelines: 10_000, builds: 400, logBytes: 2 ** 30, artifacts: 100_000 };
/** In the package of the tests, where it finds core. */
const folderOfLab = join(import.meta.dirname, '../.cache/scale-lab');

/** Whether a lab's memory depends on how much it has to do and has done. */
export const bench: Bench = {
  name: 'scale',
  describe: 'one process with 10,000 queued pipelines, while some make 1 GiB of log and 100,000 artifacts are stored',
  async run() {
    await build();
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-scale-'));
    try {
      const { samples, logBytes, artifacts, queued } = await age(join(folder, 'lab.db'));
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

/** What users run: JavaScript. */
async function build(): Promise<void> {
  const cwd = join(import.meta.dirname, '../..');
  const run = promisify(execFile);
  await run('pnpm', ['--filter', '@bringup/core', 'run', 'build'], { cwd });
  const entry = join(import.meta.dirname, '../fixtures/scale-lab.ts');
  const options = ['--format', 'esm', '--target', 'node22.18', '--external', '@bringup/core', '--no-config'];
  await run('pnpm', ['exec', 'tsup', entry, ...options, '--out-dir', folderOfLab], { cwd });
}

/**
 * Before each figure garbage is collected, and the space for new objects is bounded, which V8 lets grow by some 130 MB,
 * nearly all of it empty: what is left is what the lab holds.
 */
async function age(file: string): Promise<ScaleReport> {
  const lab = fork(join(folderOfLab, 'scale-lab.js'), [file, JSON.stringify(load)], {
    execArgv: ['--expose-gc', '--max-semi-space-size=8'],
  });
  const ended = once(lab, 'exit');
  const report = await Promise.race([
    once(lab, 'message').then(([message]) => message as ScaleReport),
    ended.then(() => {
      throw new Error('the process of the lab ended early');
    }),
  ]);
  lab.disconnect();
  await ended;
  return report;
}
