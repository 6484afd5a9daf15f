import { spawn } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

/** Options of {@link runCommand}. */
export interface RunOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gets every line of both streams as it comes. */
  readonly onLine?: (line: string) => void;
  /** Aborting it ends the command. */
  readonly signal?: AbortSignal;
}

/**
 * Runs a command to its end and returns its standard output without the trailing newline.
 * @throws Error with the last lines it said when it does not exit with 0.
 */
export async function runCommand(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<string> {
  const [file, ...args] = argv;
  const child = spawn(file, args, {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    ...(options.signal !== undefined && { signal: options.signal }),
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const stdout: string[] = [];
  const last: string[] = [];
  const take = (line: string): void => {
    last.push(line);
    if (last.length > 20) last.shift();
    options.onLine?.(line);
  };
  createInterface(child.stdout).on('line', (line) => {
    stdout.push(line);
    take(line);
  });
  createInterface(child.stderr).on('line', take);
  const status = await new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve(code ?? signal ?? 1));
  });
  if (status !== 0) throw new Error(`${argv.slice(0, 3).join(' ')} ended with ${status}:\n${last.join('\n')}`);
  return stdout.join('\n');
}

/** The path of a command, or undefined when PATH has none of that name. */
export async function findCommand(name: string): Promise<string | undefined> {
  // Debian keeps some tools out of an ordinary user's PATH.
  for (const folder of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']) {
    if (folder !== '' && (await exists(join(folder, name), constants.X_OK))) return join(folder, name);
  }
  return undefined;
}

/** Whether a path exists and is accessible in the given way. Default: exists at all. */
export function exists(path: string, mode: number = constants.F_OK): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}
