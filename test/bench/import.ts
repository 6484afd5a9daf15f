import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import type { Bench } from './bench.ts';
import { alternate, printTable, timed } from './bench.ts';

const exec = promisify(execFile);
const rounds = 15;

/** What importing the built core costs a program before it has done anything. */
export const bench: Bench = {
  name: 'import',
  describe: "a Node process that imports core's built entry, minus one that imports nothing (ms)",
  async run() {
    const core = join(import.meta.dirname, '../../packages/core/dist/index.js');
    await exec('pnpm', ['--filter', '@bringup/core', 'run', 'build'], { cwd: join(import.meta.dirname, '../..') });
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-import-'));
    try {
      const empty = join(folder, 'empty.mjs');
      const importing = join(folder, 'core.mjs');
      await writeFile(empty, '');
      await writeFile(importing, `import ${JSON.stringify(pathToFileURL(core).href)};\n`);
      const start = (script: string) => (): Promise<number> =>
        timed(() => exec(process.execPath, [script], { env: { PATH: process.env['PATH'] } }));
      const ms = await alternate({ empty: start(empty), core: start(importing) }, rounds);
      printTable(
        ['script', 'median ms'],
        [
          ['empty', ms.empty],
          ["import '@bringup/core'", ms.core],
        ],
      );
      return { core_ms_over_empty: ms.core - ms.empty };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
