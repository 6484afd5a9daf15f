import { createConnection, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { abortedError, throwIfAborted } from '../async.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import type {
  ByteSource,
  DownloadOptions,
  ExecOptions,
  ExecResult,
  ForwardTarget,
  ShellConnector,
  ShellProcess,
  ShellSession,
  ShellTarget,
  SpawnOptions,
  TransferReceipt,
  UploadOptions,
} from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { newId, systemClock, systemRandom } from '../runtime.ts';
import { settledWithin, startDeadline } from './deadline.ts';
import { type LocalProcess, startLocalProcess } from './local-process.ts';
import { readLocalFile, storeFile } from './local-transfer.ts';
import { execProcess, type ExecContext } from './shell-exec.ts';
import { checkCommand, checkTargetPath } from './shell-input.ts';

/** Options of {@link localShell}. */
export interface LocalShellOptions {
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** For the names of files that are being written. Default: the runtime's own. */
  readonly random?: Random;
}

/**
 * This machine as a shell connector named `local`: commands are child processes, each in a process
 * group of its own, and files are files. Whatever address a target has is ignored; its host name
 * shows in messages. Commands run as the account of this program, in its home folder unless told
 * otherwise, with this program's environment.
 *
 * @example
 * ```ts
 * await using shell = localShell();
 * await using session = await shell.connect({ hostname: 'localhost', username: 'me' });
 * const { stdout } = await session.exec(['uname', '-r']);
 * ```
 */
export function localShell(options: LocalShellOptions = {}): ShellConnector {
  return new LocalShell(options.clock ?? systemClock, options.random ?? systemRandom);
}

class LocalShell implements ShellConnector {
  readonly name = 'local';
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #sessions = new Set<LocalSession>();
  #disposed = false;

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  async connect(target: ShellTarget, options: CallOptions = {}): Promise<ShellSession> {
    if (this.#disposed) throw new TypeError('The local shell connector has been disposed.');
    throwIfAborted(options.signal, `Connecting to ${target.hostname}`);
    const session = new LocalSession(this.#clock, this.#random, target.hostname);
    this.#sessions.add(session);
    void session.closed.then(() => this.#sessions.delete(session));
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all([...this.#sessions].map((session) => session[Symbol.asyncDispose]()));
  }
}

class LocalSession implements ShellSession {
  readonly closed: Promise<Error | undefined>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #hostname: string;
  readonly #life = new AbortController();
  readonly #context: ExecContext;
  readonly #processes = new Set<LocalProcess>();
  readonly #transfers = new Set<Promise<unknown>>();
  readonly #sockets = new Set<Socket>();
  readonly #settleClosed: () => void;
  #ending: Promise<void> | undefined;

  constructor(clock: Clock, random: Random, hostname: string) {
    this.#clock = clock;
    this.#random = random;
    this.#hostname = hostname;
    const closed = Promise.withResolvers<undefined>();
    this.closed = closed.promise;
    this.#settleClosed = () => closed.resolve(undefined);
    this.#context = { clock, hostname, life: this.#life.signal, spawn: (...command) => this.#start(...command) };
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    this.#checkOpen();
    return execProcess(this.#context, argv, options);
  }

  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<ShellProcess> {
    this.#checkOpen();
    checkCommand(argv, options);
    return this.#start(argv, options);
  }

  async #start(argv: readonly string[], options: SpawnOptions): Promise<LocalProcess> {
    const { signal } = options;
    throwIfAborted(signal, 'Starting a command');
    const process = await startLocalProcess(this.#clock, this.#hostname, argv, options);
    this.#processes.add(process);
    const end = (): void => void process[Symbol.asyncDispose]();
    signal?.addEventListener('abort', end, { once: true });
    void process.finished.then(() => {
      this.#processes.delete(process);
      signal?.removeEventListener('abort', end);
    });
    if (signal?.aborted === true || this.#life.signal.aborted) {
      await process[Symbol.asyncDispose]();
      throw abortedError('Starting a command', signal ?? this.#life.signal);
    }
    return process;
  }

  async upload(source: ByteSource, path: string, options: UploadOptions = {}): Promise<TransferReceipt> {
    this.#checkOpen();
    checkTargetPath(path);
    using deadline = startDeadline(this.#clock, `Upload to ${path}`, options, this.#life.signal);
    const storing = storeFile(this.#clock, deadline, source, path, newId(this.#clock, this.#random), options);
    this.#transfers.add(storing);
    try {
      return await storing;
    } finally {
      this.#transfers.delete(storing);
    }
  }

  async *download(path: string, options: DownloadOptions = {}): AsyncGenerator<Uint8Array> {
    this.#checkOpen();
    checkTargetPath(path);
    yield* readLocalFile(this.#clock, path, options, this.#life.signal);
  }

  async forward(target: ForwardTarget, options: CallOptions = {}): Promise<Duplex> {
    this.#checkOpen();
    const where = 'socketPath' in target ? target.socketPath : `${target.host}:${target.port}`;
    const call = { timeoutMs: limits.connectTimeoutMs, ...options };
    using deadline = startDeadline(this.#clock, `Connecting to ${where}`, call, this.#life.signal);
    const socket = createConnection({
      ...('socketPath' in target
        ? { path: target.socketPath }
        : { host: target.host, port: target.port, noDelay: true }),
      allowHalfOpen: true,
    });
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    try {
      await deadline.race(connected(socket, where));
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ending ??= this.#end();
    return this.#ending;
  }

  async #end(): Promise<void> {
    this.#life.abort(abortedError(`The session with ${this.#hostname}`));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([...this.#processes].map((process) => process[Symbol.asyncDispose]()));
    await settledWithin(this.#clock, limits.killGraceMs, Promise.allSettled(this.#transfers));
    this.#settleClosed();
  }

  #checkOpen(): void {
    if (this.#ending !== undefined) throw new TypeError(`The session with ${this.#hostname} has been disposed.`);
  }
}

function connected(socket: Socket, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) => {
      reject(
        new BringupError('connection-failed', `Nothing answers at ${where}: ${error.message}`, {
          cause: error,
          retryable: true,
          details: { where },
        }),
      );
    });
    socket.once('close', () => reject(new BringupError('connection-failed', `The connection to ${where} was closed.`)));
  });
}
