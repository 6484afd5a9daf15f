import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import type { Clock } from '../contracts/runtime.ts';
import type { ExitStatus, ShellProcess, SpawnOptions } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { bytesOfArgument } from '../model/argument.ts';
import { settledWithin } from './deadline.ts';
import { ProcessOutput } from './process-output.ts';
import { describeCommand } from './shell-input.ts';

/** Codes of a failed start that mean the command, not the machine: what a shell says 126 or 127 to. */
const notRunnable: readonly (string | undefined)[] = ['ENOENT', 'EACCES', 'ENOTDIR', 'ENOEXEC'];

/**
 * Starts a child process in a process group (and session) of its own, so that signals reach its
 * children too and a Ctrl-C at this program's terminal does not.
 * @throws `command-failed` when it can't be started.
 */
export async function startLocalProcess(
  clock: Clock,
  hostname: string,
  argv: readonly string[],
  options: SpawnOptions,
): Promise<LocalProcess> {
  const what = describeCommand(argv, hostname);
  try {
    try {
      return new LocalProcess(clock, what, await startChild(argv, options));
    } catch (error) {
      if (!notRunnable.includes((error as NodeJS.ErrnoException).code)) throw error;
      if (options.cwd !== undefined && !(await stat(options.cwd)).isDirectory()) throw error;
      // The shell says in its usual words, and by 126 or 127, why it can't be run.
      return new LocalProcess(clock, what, await startChild(['/bin/sh', '-c', 'exec "$@"', 'sh', ...argv], options));
    }
  } catch (error) {
    const where = options.cwd === undefined ? '' : ` in ${options.cwd}`;
    throw new BringupError('command-failed', `${what} could not be started${where}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Becomes the command whose words it is given: text behind a `t`, or bytes behind a `b` as `printf` takes them. */
const bytesScript = `
for word do
  case $word in
    b*) word=$(printf "\${word#b}x"); word=\${word%x} ;;
    *) word=\${word#t} ;;
  esac
  set -- "$@" "$word"
  shift
done
exec "$@"
`;

/** Node hands arguments over as UTF-8 only: what is none is put together by a shell. */
function spawnable(argv: readonly string[]): readonly string[] {
  if (argv.every((word) => word.isWellFormed())) return argv;
  const octal = (byte: number): string => `\\${byte.toString(8).padStart(3, '0')}`;
  const words = argv.map((word) =>
    word.isWellFormed() ? `t${word}` : `b${Array.from(bytesOfArgument(word), octal).join('')}`,
  );
  return ['/bin/sh', '-c', bytesScript, 'sh', ...words];
}

async function startChild(argv: readonly string[], options: SpawnOptions): Promise<ChildProcessWithoutNullStreams> {
  const [command = '', ...args] = spawnable(argv);
  const child = spawn(command, args, {
    cwd: options.cwd ?? homedir(),
    env: { ...process.env, ...options.env },
    detached: true,
    stdio: 'pipe',
  });
  await once(child, 'spawn');
  return child;
}

/** A process group on this machine. */
export class LocalProcess implements ShellProcess {
  readonly stdout: ProcessOutput;
  readonly stderr: ProcessOutput;
  readonly exited: Promise<ExitStatus>;
  /** Resolves when the process has ended and nobody holds its output open any more. */
  readonly finished: Promise<void>;
  readonly #clock: Clock;
  readonly #what: string;
  readonly #child: ChildProcessWithoutNullStreams;
  #groupGone = false;
  #ending: Promise<void> | undefined;

  constructor(clock: Clock, what: string, child: ChildProcessWithoutNullStreams) {
    this.#clock = clock;
    this.#what = what;
    this.#child = child;
    child.stdin.on('error', () => {});
    this.stdout = new ProcessOutput(child.stdout);
    this.stderr = new ProcessOutput(child.stderr, { keepUnreadBytes: limits.unreadStderrBytes });
    this.finished = once(child, 'close').then(() => {});
    this.exited = exitOf(child).then((status) => {
      // Once the group is empty its number may go to strangers, who must not get our signals.
      this.#groupGone = !this.#groupExists();
      return status;
    });
  }

  write(data: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.stdin.write(data, (error) => {
        if (error === null || error === undefined) resolve();
        else reject(new BringupError('command-failed', `${this.#what} no longer takes input.`, { cause: error }));
      });
    });
  }

  end(): Promise<void> {
    this.#child.stdin.end();
    return Promise.resolve();
  }

  async kill(signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#signal(signal);
  }

  /**
   * Ends the group: TERM, and KILL for what is left when the process has gone or after the grace.
   * What a process left behind when it ended by itself, without keeping its output open, goes on.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    this.stdout.drop();
    this.stderr.drop();
    if (this.#groupGone || this.#isFinished() || !this.#canSignal('SIGTERM')) return;
    const gone = this.exited.then(() => (this.#groupGone ? undefined : this.finished));
    await settledWithin(this.#clock, limits.killGraceMs, gone);
    if (this.#groupGone || !this.#canSignal('SIGKILL')) return;
    await settledWithin(this.#clock, limits.killGraceMs, this.exited);
  }

  #isFinished(): boolean {
    const { exitCode, signalCode } = this.#child;
    return (exitCode !== null || signalCode !== null) && this.stdout.ended && this.stderr.ended;
  }

  #signal(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#groupGone) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') this.#groupGone = true;
      else throw new BringupError('command-failed', `${this.#what} could not be signalled.`, { cause: error });
    }
  }

  /** Signals where disposal must not fail: a process that changed to another account is out of reach. */
  #canSignal(signal: NodeJS.Signals): boolean {
    try {
      this.#signal(signal);
      return true;
    } catch {
      return false;
    }
  }

  #groupExists(): boolean {
    try {
      return this.#child.pid !== undefined && process.kill(-this.#child.pid, 0);
    } catch (error) {
      return (error as NodeJS.ErrnoException).code !== 'ESRCH';
    }
  }
}

function exitOf(child: ChildProcess): Promise<ExitStatus> {
  return new Promise((resolve) => {
    child.once('exit', (exitCode, signal) =>
      resolve(signal === null ? { exitCode, signal: null } : { exitCode: null, signal }),
    );
  });
}
