import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Builds core and a program of the fixtures that imports it, and gives the program's path. It is what users run: JavaScript.
 * Node's compiler that strips sources of their types takes 17 MB in a process.
 */
export async function buildProgram(name: string): Promise<string> {
  const cwd = join(import.meta.dirname, '../..');
  // In the package of the tests, where it finds core.
  const folder = join(cwd, 'test/.cache', name);
  await run('pnpm', ['--filter', '@bringup/core', 'run', 'build'], { cwd });
  const options = ['--format', 'esm', '--target', 'node22.18', '--external', '@bringup/core', '--no-config'];
  const entry = join(cwd, 'test/fixtures', `${name}.ts`);
  await run('pnpm', ['exec', 'tsup', entry, ...options, '--out-dir', folder], { cwd });
  return join(folder, `${name}.js`);
}

/** Runs a program in a process of its own, and gives what it reports. */
export async function reportOf<T>(program: string, args: readonly string[], execArgv: readonly string[]): Promise<T> {
  const child = fork(program, args, { execArgv: [...execArgv] });
  const ended = once(child, 'exit');
  const report = await Promise.race([
    once(child, 'message').then(([message]) => message as T),
    ended.then(() => {
      throw new Error(`${program} ended early`);
    }),
  ]);
  child.disconnect();
  await ended;
  return report;
}
