import type { Clock } from '../contracts/runtime.ts';
import type { ExitStatus, ShellProcess } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { BytePipe } from './byte-pipe.ts';
import type { MemoryFileSystem } from './memory-file-system.ts';

/** Where a command writes; resolves when there is room again. */
export interface MemoryOutput {
  /** Text as UTF-8, and what `argumentOfBytes` put into it as the bytes it was. */
  write(data: string | Uint8Array): Promise<void>;
}

/** What a command of the memory shell runs with. */
export interface MemoryCommandContext {
  /** The command and its arguments; in a script, its name and its arguments (`$0`, `$1`, …). */
  readonly argv: readonly string[];
  /** Working directory, absolute. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: MemoryOutput;
  readonly stderr: MemoryOutput;
  /** Aborts when the process has been killed or its connection is lost; what it says then is not heard. */
  readonly signal: AbortSignal;
  /** The files of the target. */
  readonly fs: MemoryFileSystem;
  readonly clock: Clock;
  /** Name of the target it runs on. */
  readonly hostname: string;
  /** A path of this command, which may be relative to `cwd`. */
  path(path: string): string;
  /** Runs another command with the same streams, and gives its exit code. */
  run(argv: readonly string[], options?: MemoryRunOptions): Promise<number>;
}

/** What differs for a command that is run by another: {@link MemoryCommandContext.run}. */
export type MemoryRunOptions = Partial<
  Pick<MemoryCommandContext, 'cwd' | 'env' | 'stdin' | 'stdout' | 'stderr' | 'signal'>
>;

/**
 * A command in memory. Gives its exit code, 0 when it gives none. One that throws exits with 1 and
 * its message on standard error.
 */
export type MemoryCommand = (context: MemoryCommandContext) => number | void | Promise<number | void>;

/** The streams of a process, as the command sees them. */
export type MemoryStreams = Pick<MemoryCommandContext, 'stdin' | 'stdout' | 'stderr' | 'signal'>;

/** A running command of the memory shell. */
export class MemoryProcess implements ShellProcess {
  readonly stdout: BytePipe = new BytePipe();
  readonly stderr: BytePipe = new BytePipe({ unblocked: true, capacityBytes: limits.unreadStderrBytes });
  readonly exited: Promise<ExitStatus>;
  readonly #stdin = new BytePipe();
  readonly #stop = new AbortController();
  readonly #exit = Promise.withResolvers<ExitStatus>();
  #inputEnded = false;

  constructor(command: (streams: MemoryStreams) => Promise<number>) {
    this.exited = this.#exit.promise;
    this.exited.catch(() => {});
    void this.#run(command);
  }

  async write(data: Uint8Array): Promise<void> {
    const refuse = (): never => {
      throw new BringupError('command-failed', 'The process no longer takes input.');
    };
    if (this.#inputEnded || this.#stop.signal.aborted || this.#stdin.closed) refuse();
    await this.#stdin.write(data);
    if (this.#stop.signal.aborted) refuse();
  }

  async end(): Promise<void> {
    this.#inputEnded = true;
    this.#stdin.end();
  }

  async kill(signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#finish({ exitCode: null, signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill('SIGTERM');
    this.stdout.drop();
    this.stderr.drop();
  }

  /** The connection is gone: nobody will know how the process ended. */
  lose(error: Error): void {
    this.#exit.reject(error);
    this.#close(error);
  }

  async #run(command: (streams: MemoryStreams) => Promise<number>): Promise<void> {
    const { signal } = this.#stop;
    const exitCode = await command({ stdin: this.#stdin, stdout: this.stdout, stderr: this.stderr, signal });
    this.#finish({ exitCode, signal: null });
  }

  #finish(status: ExitStatus): void {
    this.#exit.resolve(status);
    this.#close();
  }

  #close(error?: Error): void {
    this.stdout.end(error);
    this.stderr.end(error);
    this.#stop.abort(error);
    this.#stdin.drop();
  }
}
