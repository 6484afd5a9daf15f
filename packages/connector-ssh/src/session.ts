import type { Duplex } from 'node:stream';
import { abortedError, BringupError, limits, throwIfAborted, withDeadline } from '@bringup/core';
import type {
  ByteSource,
  CallOptions,
  Clock,
  DownloadOptions,
  ExecOptions,
  ExecResult,
  ForwardTarget,
  ShellSession,
  SpawnOptions,
  TransferReceipt,
  UploadOptions,
} from '@bringup/core';
import type { ClientChannel } from 'ssh2';
import { ChannelRefused, type Connection } from './connection.ts';
import { download } from './download.ts';
import { connectionLost, messageOf, type TargetName } from './errors.ts';
import { ForwardStream } from './forward-stream.ts';
import type { Pool } from './pool.ts';
import { type KillSignal, SshProcess } from './process.ts';
import { commandLine, pidMarker } from './quote.ts';
import type { Sudo } from './sudo.ts';
import type { TransferContext } from './transfer.ts';
import { upload } from './upload.ts';

/** One user's view of a pooled connection, with what that user started. */
export class SshSession implements ShellSession {
  readonly closed: Promise<Error | undefined>;
  readonly #pool: Pool;
  readonly #target: TargetName;
  readonly #clock: Clock;
  readonly #sudo: Sudo | undefined;
  readonly #processes = new Set<SshProcess>();
  readonly #streams = new Set<Duplex>();
  readonly #transfers: TransferContext;
  #close!: (reason: Error | undefined) => void;
  #ending: Promise<void> | undefined;

  constructor(
    pool: Pool,
    target: TargetName,
    { clock, sudo }: { readonly clock: Clock; readonly sudo?: Sudo | undefined },
  ) {
    this.#pool = pool;
    this.#target = target;
    this.#clock = clock;
    this.#sudo = sudo;
    this.#transfers = { clock, target, start: (argv, what, signal) => this.#start(commandLine(argv), what, signal) };
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    this.#close = resolve;
    pool.addSession();
    void pool.closed.then((reason) => resolve(reason ?? pool.lost));
  }

  async exec(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    this.#check();
    const line = commandLine(argv, options);
    const { timeoutMs = limits.execTimeoutMs } = options;
    const what = `${argv[0]} on ${this.#target.label}`;
    const call: CallOptions = options.signal === undefined ? { timeoutMs } : { timeoutMs, signal: options.signal };
    return withDeadline(this.#clock, what, call, (signal) => this.#run(line, what, options, signal));
  }

  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<SshProcess> {
    this.#check();
    const line = commandLine(argv, options);
    const what = `${argv[0]} on ${this.#target.label}`;
    throwIfAborted(options.signal, what);
    const process = await this.#start(line, what, options.signal);
    if (options.cwd !== undefined && !(await process.started())) throw notStarted(what, options.cwd);
    this.#endOnAbort(process, options.signal);
    return process;
  }

  async upload(source: ByteSource, path: string, options: UploadOptions = {}): Promise<TransferReceipt> {
    this.#check();
    return upload(this.#transfers, source, path, options);
  }

  async *download(path: string, options: DownloadOptions = {}): AsyncGenerator<Uint8Array, void, void> {
    this.#check();
    yield* download(this.#transfers, path, options);
  }

  async forward(target: ForwardTarget, options: CallOptions = {}): Promise<Duplex> {
    this.#check();
    const where = 'socketPath' in target ? target.socketPath : `${target.host}:${target.port}`;
    const what = `Forwarding to ${where} on ${this.#target.label}`;
    const call: CallOptions = { timeoutMs: limits.connectTimeoutMs, ...options };
    return withDeadline(this.#clock, what, call, async (signal) => {
      const attach = (channel: ClientChannel, connection: Connection): ForwardStream =>
        new ForwardStream(channel, connection);
      const stream = await this.#pool.forward(target, attach).catch((error: unknown) => {
        throw forwardError(error, what);
      });
      this.#streams.add(stream);
      stream.on('close', () => this.#streams.delete(stream));
      if (signal.aborted || this.#ending !== undefined) stream.destroy();
      return stream;
    });
  }

  /** Ends what this session started; the connection stays for others. Bounded in time. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#ending ??= (async (): Promise<void> => {
      this.#close(undefined);
      for (const stream of this.#streams) stream.destroy();
      await Promise.all([...this.#processes].map((process) => process[Symbol.asyncDispose]()));
      this.#pool.removeSession();
    })();
    return this.#ending;
  }

  async #run(line: string, what: string, options: ExecOptions, signal: AbortSignal): Promise<ExecResult> {
    const process = await this.#start(line, what, signal);
    this.#endOnAbort(process, signal);
    void process.end(options.stdin);
    const budget = { left: options.maxOutputBytes ?? limits.execMaxOutputBytes };
    const [stdout, stderr] = await Promise.all([
      collect(process, process.stdout, budget, what),
      collect(process, process.stderr, budget, what),
    ]);
    const status = await process.exited;
    if (this.#ending !== undefined && status.signal !== null) throw abortedError(what);
    if (options.cwd !== undefined && !(await process.started())) throw notStarted(what, options.cwd, stderr.toString());
    return { ...status, stdout, stderr };
  }

  /** Starts a command line as a process of this session. */
  async #start(line: string, what: string, signal: AbortSignal | undefined): Promise<SshProcess> {
    const attach = (channel: ClientChannel, connection: Connection): SshProcess =>
      this.#adopt(
        new SshProcess(channel, connection, {
          clock: this.#clock,
          what,
          target: this.#target,
          sudo: this.#sudo,
          signalGroup: this.#signalGroup,
        }),
      );
    const process = await this.#pool
      .exec(this.#sudo?.line(line) ?? line, { signal }, attach)
      .catch((error: unknown) => {
        if (!(error instanceof ChannelRefused)) throw error;
        throw new BringupError(
          'command-failed',
          `${what} could not be started: ${messageOf(error)}. Does the server allow this account to run commands?`,
          { cause: error },
        );
      });
    if (signal?.aborted === true || this.#ending !== undefined) {
      void process[Symbol.asyncDispose]();
      throw abortedError(what, signal);
    }
    return process;
  }

  #endOnAbort(process: SshProcess, signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    const end = (): void => void process[Symbol.asyncDispose]();
    signal.addEventListener('abort', end, { once: true });
    void process.finished.then(() => signal.removeEventListener('abort', end));
  }

  #adopt(process: SshProcess): SshProcess {
    this.#processes.add(process);
    void process.finished.then(() => this.#processes.delete(process));
    return process;
  }

  readonly #signalGroup = async (pid: string, signal: KillSignal): Promise<void> => {
    const line = signalLine(pid, signal, this.#sudo !== undefined);
    const attach = (channel: ClientChannel, connection: Connection): SshProcess =>
      new SshProcess(channel, connection, {
        clock: this.#clock,
        what: `${signal} on ${this.#target.label}`,
        target: this.#target,
        sudo: this.#sudo,
        signalGroup: async () => undefined,
      });
    const sent = await this.#pool.exec(this.#sudo?.line(line) ?? line, { urgent: true }, attach);
    sent.stdout.discard();
    void sent.end();
    await sent.finished;
  };

  /** @throws TypeError once disposed, `connection-lost` once the connection is. */
  #check(): void {
    if (this.#ending !== undefined) throw new TypeError(`The session with ${this.#target.label} has been disposed.`);
    if (!this.#pool.isOpen) throw this.#pool.lost;
  }
}

/**
 * A process that is no group leader (some small SSH servers make none) gets the signal alone. Below `sudo`
 * the group may be that of `sudo` itself, or of the terminal that it was told to use.
 */
function signalLine(pid: string, signal: KillSignal, ofOtherAccount: boolean): string {
  const name = signal.slice('SIG'.length);
  const group = ofOtherAccount ? `$(ps -o pgid= -p ${pid} | tr -d ' ')` : pid;
  const line = `kill -s ${name} -- -${group} 2>/dev/null || kill -s ${name} ${pid} 2>/dev/null`;
  // Below sudo the signal's own command has to say that it has begun, as every other.
  return ofOtherAccount ? `echo "${pidMarker}$$" >&2;${line}` : line;
}

async function collect(
  process: SshProcess,
  chunks: AsyncIterable<Uint8Array>,
  budget: { left: number },
  what: string,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) {
    budget.left -= chunk.byteLength;
    if (budget.left < 0) {
      void process[Symbol.asyncDispose]();
      throw new BringupError(
        'command-failed',
        `${what} said more than allowed and was ended. Raise \`maxOutputBytes\`, or use spawn.`,
      );
    }
    parts.push(chunk);
  }
  return parts.length === 1 && Buffer.isBuffer(parts[0]) ? parts[0] : Buffer.concat(parts);
}

function notStarted(what: string, cwd: string, said = ''): BringupError {
  const why = said.trim() === '' ? '' : ` (${said.trim()})`;
  return new BringupError('command-failed', `${what} could not be started in ${cwd}${why}. Does the folder exist?`, {
    details: { cwd },
  });
}

function forwardError(error: unknown, what: string): Error {
  if (!(error instanceof ChannelRefused))
    return error instanceof Error ? error : connectionLost({ label: what, details: {} }, error);
  // RFC 4254 §5.1: 1 is administratively prohibited, 3 an unknown channel type. sshd also says 1
  // where the socket is missing, so only its words tell the two apart.
  const unsupported = error.reason === 3 || /strictVendor|prohibited|unknown channel/i.test(error.message);
  return new BringupError(
    unsupported ? 'unsupported' : 'connection-failed',
    `${what} failed: ${error.message}. ${unsupported ? 'The server does not allow it (AllowTcpForwarding, AllowStreamLocalForwarding).' : 'Does anything listen there?'}`,
    { retryable: !unsupported, cause: error },
  );
}
