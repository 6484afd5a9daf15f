import { constants, watch, type FSWatcher } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import type { Server } from 'node:net';
import { sleep, withDeadline } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { claimConsole } from './qemu-console-claim.ts';
import type { QemuFolder } from './qemu-folder.ts';
import { runQmp } from './qemu-process.ts';

/** What a console is opened on. */
export interface QemuConsoleTarget {
  readonly folder: QemuFolder;
  readonly id: string;
  readonly clock: Clock;
  readonly offset: number;
}

/** Files and claims that an open console holds. */
interface Holdings {
  readonly claim: Server;
  readonly log: FileHandle;
  /** Absent when the VM has ended. */
  readonly input: FileHandle | undefined;
}

const inputRetryMs = 5;

/**
 * Opens the console of a VM: its output is read from the file to which QEMU writes every byte,
 * whoever is connected; its input goes into the FIFO from which QEMU takes it.
 * @throws `console-busy`, `console-history-lost`.
 */
export async function openQemuConsole(target: QemuConsoleTarget): Promise<QemuConsole> {
  const { folder, offset } = target;
  const claim = await claimConsole(folder.name, target.id);
  let log: FileHandle | undefined;
  try {
    log = await open(folder.consoleLog);
    await checkHistory(log, folder, offset);
    return new QemuConsole(target, { claim, log, input: await openInput(folder) });
  } catch (error) {
    await log?.close();
    claim.close();
    throw error;
  }
}

async function checkHistory(log: FileHandle, folder: QemuFolder, offset: number): Promise<void> {
  const { size } = await log.stat();
  if (offset <= size) return;
  throw new BringupError(
    'console-history-lost',
    `The console log of the VM ${folder.name} has ${size} bytes; byte ${offset} and later were asked for.`,
    { details: { name: folder.name, offset, availableBytes: size } },
  );
}

/** The writing end, or undefined when no QEMU reads the other one. */
async function openInput(folder: QemuFolder): Promise<FileHandle | undefined> {
  try {
    return await open(folder.consoleInput, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENXIO') return undefined;
    throw error;
  }
}

/** A {@link Console} of a local QEMU. */
export class QemuConsole implements Console {
  readonly output: AsyncIterable<Uint8Array>;
  /** Settles when it is disposed. */
  readonly closed: Promise<void>;
  readonly #settleClosed: () => void;
  readonly #target: QemuConsoleTarget;
  readonly #holdings: Holdings;
  readonly #watchers: readonly FSWatcher[];
  readonly #disposal = new AbortController();
  /** What uses the files right now; they are closed after it. */
  readonly #using = new Set<Promise<unknown>>();
  #writing: Promise<unknown> = Promise.resolve();
  #ended: boolean;
  #news = true;
  #wake: () => void = () => {};

  constructor(target: QemuConsoleTarget, holdings: Holdings) {
    this.#target = target;
    this.#holdings = holdings;
    this.#ended = holdings.input === undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#settleClosed = resolve;
    const { consoleLog, stateFolder } = target.folder;
    this.#watchers = this.#ended ? [] : [consoleLog, stateFolder].map((path) => watch(path, () => this.#notice()));
    // A watch may end with what it watches; the probe goes on.
    for (const watcher of this.#watchers) watcher.on('error', () => {});
    let iterated = false;
    this.output = {
      [Symbol.asyncIterator]: () => {
        if (iterated) throw new TypeError('The output of a console may be iterated once.');
        iterated = true;
        return this.#read();
      },
    };
  }

  async write(data: Uint8Array, options: CallOptions = {}): Promise<void> {
    const { folder, clock } = this.#target;
    await withDeadline(clock, `writing to the console of the VM ${folder.name}`, options, (signal) => {
      const turn = this.#writing.then(() => this.#send(data, AbortSignal.any([signal, this.#disposal.signal])));
      this.#writing = turn.catch(() => {});
      return this.#use(turn);
    });
  }

  async sendBreak(): Promise<void> {
    if (this.#disposal.signal.aborted || this.#ended) throw this.#closedError();
    const { folder, clock } = this.#target;
    await withDeadline(
      clock,
      `sending a break to the VM ${folder.name}`,
      { timeoutMs: limits.hypervisorCallTimeoutMs },
      (signal) =>
        runQmp(folder, clock, AbortSignal.any([signal, this.#disposal.signal]), (qmp) =>
          qmp.execute('chardev-send-break', { id: 'console' }),
        ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#disposal.signal.aborted) {
      this.#disposal.abort(this.#closedError());
      this.#wake();
      for (const watcher of this.#watchers) watcher.close();
      await Promise.allSettled([...this.#using]);
      await Promise.all([this.#holdings.log.close(), this.#holdings.input?.close()]);
      await new Promise((resolve) => this.#holdings.claim.close(resolve));
      this.#settleClosed();
    }
    await this.closed;
  }

  #use<T>(promise: Promise<T>): Promise<T> {
    this.#using.add(promise);
    const done = (): void => void this.#using.delete(promise);
    promise.then(done, done);
    return promise;
  }

  #notice(): void {
    this.#news = true;
    this.#wake();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, void> {
    const buffer = Buffer.allocUnsafe(limits.consoleReadBytes);
    for (let offset = this.#target.offset; !this.#disposal.signal.aborted;) {
      // Looked at before the read: what is read after the end is all there is.
      const last = this.#ended;
      this.#news = false;
      const { bytesRead } = await this.#use(this.#holdings.log.read(buffer, 0, buffer.length, offset));
      offset += bytesRead;
      if (bytesRead > 0) yield Uint8Array.from(buffer.subarray(0, bytesRead));
      else if (last) return;
      else if (await this.#hasEnded()) this.#ended = true;
      else await this.#someNews();
    }
  }

  async #hasEnded(): Promise<boolean> {
    return (await this.#target.folder.livePid(this.#target.id)) === undefined;
  }

  /** Waits for the watch, or for the probe that finds a killed QEMU and covers for a lost watch. */
  async #someNews(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    using _probe = this.#target.clock.timer(limits.vmProbeMs, resolve);
    if (!this.#news && !this.#disposal.signal.aborted) await promise;
  }

  /** Fills the FIFO; when it is full, because the guest takes nothing, waits until it does. */
  async #send(data: Uint8Array, signal: AbortSignal): Promise<void> {
    for (let sent = 0; sent < data.length;) {
      if (this.#disposal.signal.aborted || this.#holdings.input === undefined) throw this.#closedError();
      signal.throwIfAborted();
      try {
        const { bytesWritten } = await this.#holdings.input.write(data, sent);
        sent += bytesWritten;
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') throw this.#closedError();
        if (code !== 'EAGAIN')
          throw new BringupError('connection-lost', `Input for the VM ${this.#target.folder.name} failed.`, {
            cause: error,
          });
        await sleep(this.#target.clock, inputRetryMs, signal).catch(() => {});
      }
    }
  }

  #closedError(): BringupError {
    const why = this.#ended ? 'is closed: the VM has ended' : 'was closed';
    return new BringupError('console-closed', `The console of the VM ${this.#target.folder.name} ${why}.`);
  }
}
