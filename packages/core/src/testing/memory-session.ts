import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import type { Duplex } from 'node:stream';
import { abortedError } from '../async.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import type {
  ByteSource,
  DownloadOptions,
  ExecOptions,
  ExecResult,
  ForwardTarget,
  ShellProcess,
  ShellSession,
  SpawnOptions,
  TransferReceipt,
  UploadOptions,
} from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Deadline, startDeadline } from '../local/deadline.ts';
import { ProgressReporter } from '../local/progress.ts';
import { execProcess, type ExecContext } from '../local/shell-exec.ts';
import { checkCommand, checkTargetPath } from '../local/shell-input.ts';
import { changedSince, checkReceipt, checksumError, transferError, unstalled } from '../local/transfer-checks.ts';
import { PartialDownload } from '../model/partial-download.ts';
import type { MemoryHost } from './memory-host.ts';
import type { MemoryProcess } from './memory-process.ts';

const downloadChunkBytes = 64 * 1024;

/** A session of the memory shell. */
export class MemorySession implements ShellSession {
  readonly closed: Promise<Error | undefined>;
  readonly #clock: Clock;
  readonly #host: MemoryHost;
  readonly #username: string;
  readonly #life = new AbortController();
  readonly #context: ExecContext;
  readonly #processes = new Set<MemoryProcess>();
  readonly #streams = new Set<Duplex>();
  readonly #settleClosed: (reason: Error | undefined) => void;
  readonly #removeConnection: () => void;
  #disposed = false;

  constructor(clock: Clock, host: MemoryHost, username: string) {
    this.#clock = clock;
    this.#host = host;
    this.#username = username;
    const closed = Promise.withResolvers<Error | undefined>();
    this.closed = closed.promise;
    this.#settleClosed = closed.resolve;
    const { hostname } = host;
    this.#context = { clock, hostname, life: this.#life.signal, spawn: (...command) => this.#start(...command) };
    this.#removeConnection = host.addConnection((error) => this.#lose(error));
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

  async #start(argv: readonly string[], options: SpawnOptions): Promise<MemoryProcess> {
    const { signal } = options;
    using deadline = this.#deadline('Starting a command', signal === undefined ? {} : { signal });
    await this.#answer(deadline);
    const process = this.#host.start(argv, this.#username, options);
    this.#processes.add(process);
    const end = (): void => void process.kill('SIGTERM');
    signal?.addEventListener('abort', end, { once: true });
    const forget = (): void => {
      this.#processes.delete(process);
      signal?.removeEventListener('abort', end);
    };
    process.exited.then(forget, forget);
    return process;
  }

  async upload(source: ByteSource, path: string, options: UploadOptions = {}): Promise<TransferReceipt> {
    this.#checkOpen();
    checkTargetPath(path);
    using deadline = this.#deadline(`Upload to ${path}`, options);
    await this.#answer(deadline);
    const part = posix.join(posix.dirname(path), `.bringup-${(this.#host.uploads += 1)}.part`);
    const { fs } = this.#host;
    try {
      fs.writeFile(part, '', { mode: options.mode ?? 0o644 });
      const progress = new ProgressReporter(this.#clock, source.sizeBytes, options.onProgress);
      const sent = await this.#receive(deadline, source, part, progress);
      checkReceipt(path, source, sent, this.#stored(part));
      fs.rename(part, path);
      progress.finish();
      return sent;
    } catch (error) {
      if (fs.stat(part) !== undefined) fs.remove(part);
      deadline.signal.throwIfAborted();
      throw transferError(error, path);
    }
  }

  async #receive(
    deadline: Deadline,
    source: ByteSource,
    part: string,
    progress: ProgressReporter,
  ): Promise<TransferReceipt> {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of unstalled(this.#clock, deadline, source.read())) {
      sizeBytes += chunk.byteLength;
      if (sizeBytes > source.sizeBytes) break;
      hash.update(chunk);
      this.#host.fs.appendFile(part, chunk);
      progress.add(chunk.byteLength);
    }
    return { sizeBytes, sha256: hash.digest('hex') };
  }

  #stored(part: string): TransferReceipt {
    const { faults, fs } = this.#host;
    if (faults.corruptUploads > 0) {
      faults.corruptUploads -= 1;
      fs.writeFile(part, withOneByteChanged(fs.readFile(part)));
    }
    const bytes = fs.readFile(part);
    return { sizeBytes: bytes.byteLength, sha256: createHash('sha256').update(bytes).digest('hex') };
  }

  async *download(path: string, options: DownloadOptions = {}): AsyncGenerator<Uint8Array> {
    this.#checkOpen();
    checkTargetPath(path);
    using deadline = this.#deadline(`Download of ${path}`, options);
    await this.#answer(deadline);
    const stored = this.#read(path);
    const { resume: part = new PartialDownload() } = options;
    if (stored.byteLength < part.sizeBytes) throw changedSince(path, part);
    const sent = this.#sent(stored.subarray(part.sizeBytes));
    const progress = new ProgressReporter(this.#clock, stored.byteLength, options.onProgress);
    progress.add(part.sizeBytes);
    for (let at = 0; at < sent.byteLength; at += downloadChunkBytes) {
      deadline.signal.throwIfAborted();
      const chunk = sent.subarray(at, at + downloadChunkBytes);
      progress.add(chunk.byteLength);
      part.add(chunk);
      yield chunk;
    }
    deadline.signal.throwIfAborted();
    const found = part.sha256();
    for (const expected of [createHash('sha256').update(stored).digest('hex'), options.sha256 ?? found]) {
      if (found !== expected) throw checksumError(path, expected, found);
    }
    progress.finish();
  }

  #read(path: string): Buffer {
    const { fs, hostname } = this.#host;
    if (fs.stat(path) === undefined) {
      throw new BringupError('not-found', `There is no file ${path} on ${hostname}.`, { details: { hostname, path } });
    }
    try {
      return fs.readFile(path);
    } catch (error) {
      throw transferError(error, path);
    }
  }

  #sent(stored: Buffer): Buffer {
    const { faults } = this.#host;
    if (faults.corruptDownloads === 0) return stored;
    faults.corruptDownloads -= 1;
    return withOneByteChanged(stored);
  }

  async forward(target: ForwardTarget, options: CallOptions = {}): Promise<Duplex> {
    this.#checkOpen();
    using deadline = this.#deadline('Forwarding', { timeoutMs: limits.connectTimeoutMs, ...options });
    await this.#answer(deadline);
    const stream = this.#host.openSocket(target);
    this.#streams.add(stream);
    stream.once('close', () => this.#streams.delete(stream));
    return stream;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#removeConnection();
    this.#life.abort(abortedError(`The session with ${this.#host.hostname}`));
    for (const stream of this.#streams) stream.destroy();
    await Promise.all([...this.#processes].map((process) => process[Symbol.asyncDispose]()));
    this.#settleClosed(undefined);
  }

  #lose(error: Error): void {
    this.#removeConnection();
    this.#life.abort(error);
    for (const process of this.#processes) process.lose(error);
    for (const stream of this.#streams) stream.destroy(error);
    this.#settleClosed(error);
  }

  #checkOpen(): void {
    if (this.#disposed) throw new TypeError(`The session with ${this.#host.hostname} has been disposed.`);
  }

  #deadline(what: string, options: CallOptions): Deadline {
    return startDeadline(this.#clock, `${what} on ${this.#host.hostname}`, options, this.#life.signal);
  }

  /** Where the target would answer; a host that hangs never does. */
  async #answer(deadline: Deadline): Promise<void> {
    if (this.#host.faults.hang) await deadline.race(new Promise<never>(() => {}));
  }
}

function withOneByteChanged(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes);
  if (changed.byteLength > 0) changed.writeUInt8(changed.readUInt8(0) ^ 0xff, 0);
  return changed;
}
