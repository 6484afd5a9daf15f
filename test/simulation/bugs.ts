import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A bug that somebody could write, as a patch of the sources, and what the simulator has to say about it. */
export interface Bug {
  readonly name: string;
  readonly patch: string;
  /** What one of the violations must look like. */
  readonly breaks: RegExp;
  readonly from: number;
  readonly seeds: number;
}

const folder = fileURLToPath(new URL('bugs/', import.meta.url));
const root = fileURLToPath(new URL('../../', import.meta.url));

/** All bugs that are kept: see the head of each patch. */
export async function readBugs(): Promise<Bug[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.patch')).toSorted();
  return Promise.all(
    files.map(async (file) => {
      const patch = join(folder, file);
      const [head = ''] = (await readFile(patch, 'utf8')).split(/^--- /m, 1);
      const [, breaks] = /^Breaks: (.+)$/m.exec(head) ?? [];
      const [, from, to] = /^Seeds: (\d+)-(\d+)$/m.exec(head) ?? [];
      if (breaks === undefined || from === undefined || to === undefined) {
        throw new TypeError(`${file} does not say 'Breaks: PATTERN' and 'Seeds: FROM-TO' at its head`);
      }
      const bounds = { from: Number(from), seeds: Number(to) - Number(from) + 1 };
      return { name: file.replace(/\.patch$/, ''), patch, breaks: new RegExp(breaks), ...bounds };
    }),
  );
}

/** Puts a bug into sources that `git apply` finds in `directory`. @throws TypeError when they have changed too much. */
export async function applyBug(
  { name, patch }: Bug,
  directory: string,
  options: readonly string[] = [],
): Promise<void> {
  const env = { ...process.env, GIT_CEILING_DIRECTORIES: dirname(directory) };
  const { code, output } = await run('git', ['apply', ...options, patch], directory, env);
  if (code === 0) return;
  throw new TypeError(
    `the seeded bug ${name} does not apply to the sources any more: write it anew for them as they are\n${output}`,
  );
}

/** Runs the simulator on the sources with each bug, and says which it does not find, shrink and replay. */
export async function catchBugs(only: string | undefined): Promise<boolean> {
  const bugs = (await readBugs()).filter(({ name }) => only === undefined || name === only);
  const waiting = [...bugs];
  let failed = 0;
  const next = async (): Promise<void> => {
    for (let bug = waiting.shift(); bug !== undefined; bug = waiting.shift()) {
      const startedAt = performance.now();
      const told = await caught(bug).catch((error: unknown) => `not caught: ${String(error)}`);
      if (told.startsWith('not caught')) failed += 1;
      console.log(`${bug.name}: ${told} (${((performance.now() - startedAt) / 1000).toFixed(1)} s)`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, next));
  console.log(`${bugs.length - failed} passed, ${failed} failed`);
  return failed === 0 && bugs.length > 0;
}

async function caught(bug: Bug): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'bringup-bug-'));
  try {
    await copySources(directory);
    await applyBug(bug, directory);
    const range = ['--from', String(bug.from), '--seeds', String(bug.seeds)];
    const found = await simulate(directory, [...range, '--first', '--workers', '1']);
    const [, text = '', replay] =
      /^seed .* breaks .*:\n([^]*?)^see it again with: pnpm simulate (.*)$/m.exec(found) ?? [];
    if (replay === undefined) return `not caught in ${bug.seeds} seeds from ${bug.from} on:\n${found}`;
    const violations = violationsOf(text);
    const wanted = violations.find((line) => bug.breaks.test(line));
    if (wanted === undefined) return `not caught as ${String(bug.breaks)}, but:\n${text}`;
    const [, all, kept] = /^shrunk from (\d+) to (\d+)/m.exec(text) ?? [];
    if (!(Number(kept) < Number(all))) return `not caught: its plan was not shrunk:\n${text}`;
    const again = await simulate(directory, replay.split(' '));
    if (violationsOf(again).join('\n') !== violations.join('\n')) {
      return `not caught again by ${replay}:\n${again}`;
    }
    return `${wanted.slice(0, 120)} | ${replay}`;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

const violationsOf = (text: string): string[] => text.split('\n').filter((line) => /^[a-z]+: /.test(line));

/** Core and the simulator as they are in the repository, with the packages they need. */
export async function copySources(directory: string): Promise<void> {
  const core = join(directory, 'packages/core');
  const scope = join(directory, 'test/node_modules/@bringup');
  await Promise.all([mkdir(core, { recursive: true }), mkdir(scope, { recursive: true })]);
  const copy = (path: string): Promise<void> => cp(join(root, path), join(directory, path), { recursive: true });
  await Promise.all(
    ['packages/core/src', 'packages/core/package.json', 'test/simulation', 'test/fixtures', 'test/package.json'].map(
      copy,
    ),
  );
  await symlink(join(root, 'packages/core/node_modules'), join(core, 'node_modules'));
  await symlink(core, join(scope, 'core'));
}

/** What the simulator says that stands in `directory`. */
export async function simulate(directory: string, parameters: readonly string[]): Promise<string> {
  const main = join(directory, 'test/simulation/main.ts');
  const flags = ['--conditions=bringup-source', '--disable-warning=ExperimentalWarning'];
  const { output } = await run(process.execPath, [...flags, main, ...parameters], directory, process.env);
  return output;
}

function run(
  file: string,
  parameters: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    execFile(file, parameters, { cwd, env, timeout: 240_000, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : 1, output: `${stdout}${stderr}` });
    });
  });
}
