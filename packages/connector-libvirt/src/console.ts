import { BringupError, limits, sleep, throwIfAborted, withDeadline } from '@bringup/core';
import type { CallOptions, Clock, Console } from '@bringup/core';
import { historyLost } from './console-log.ts';
import type { ConsoleLog } from './console-log.ts';
import type { Daemon } from './daemon.ts';
import type { RpcStream } from './rpc/stream.ts';

/** How long one look into the log waits on the host for news. */
const followMs = 5_000;

/** A log that does not grow for this long after its VM has ended is complete. */
const settleMs = 300;

/** Between two looks whether a VM whose console ended has ended itself, and for how long. */
const statePollMs = 20;

/** The line to a running VM's console, on a connection of its own so that its back-pressure stops nobody else. */
export interface ConsoleLine {
  readonly daemon: Daemon;
  readonly stream: RpcStream;
}

/** What a {@link VmConsole} is made of. */
export interface VmConsoleParts {
  readonly name: string;
  readonly clock: Clock;
  readonly log: ConsoleLog;
  /** Undefined when the VM has ended. */
  readonly line: ConsoleLine | undefined;
  /** Whether the line brings the VM's first byte; else the output is read from the log. */
  readonly live: boolean;
  /** Offset of the first byte wanted, and what was read from there already. */
  readonly offset: number;
  readonly first: Uint8Array;
  /** Whether the VM still runs or may run. */
  readonly active: () => Promise<boolean>;
  /** Called once, when it is disposed. */
  readonly onDispose: () => void;
}

/**
 * The console of a VM. The log on the host is the one truth about what was said; the line is as
 * good only if it was open before the first byte, and even then the kernel drops what is left in
 * the pty when QEMU exits. So output comes from the line if it was there in time, and its end, like
 * everything else, from the log.
 */
export class VmConsole implements Console {
  readonly output: AsyncIterable<Uint8Array>;
  readonly #parts: VmConsoleParts;
  readonly #disposing = new AbortController();
  #disposed: Promise<void> | undefined;

  constructor(parts: VmConsoleParts) {
    this.#parts = parts;
    this.output = this.#read();
    // The log tells what was said, so the line is for input only.
    if (!parts.live) parts.line?.stream.discard();
  }

  async *#read(): AsyncGenerator<Uint8Array, void> {
    const { line, live } = this.#parts;
    let offset = this.#parts.offset;
    try {
      if (this.#parts.first.length > 0) yield this.#parts.first;
      offset += this.#parts.first.length;
      if (line !== undefined) {
        for await (const bytes of live ? line.stream.read() : this.#follow(line.stream, offset)) {
          yield bytes;
          offset += bytes.length;
        }
        if (this.#disposing.signal.aborted) return;
        const error = await line.stream.ended;
        if (error !== undefined) throw error;
        await this.#untilEnded();
      }
      yield* this.#rest(offset);
    } catch (error) {
      if (!this.#disposing.signal.aborted) throw error;
    } finally {
      line?.stream.discard();
    }
  }

  /** The log from `offset` on, until the VM's console ends. */
  async *#follow(stream: RpcStream, from: number): AsyncGenerator<Buffer, void> {
    const ended = new AbortController();
    void stream.ended.then(() => ended.abort());
    const signal = AbortSignal.any([ended.signal, this.#disposing.signal]);
    for (let offset = from; !signal.aborted;) {
      let reading;
      try {
        reading = await this.#parts.log.read(offset, followMs, { signal });
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      if (reading.outcome === 'absent') return;
      if (reading.outcome !== 'read') throw historyLost(this.#parts.name, offset, reading.outcome);
      if (reading.bytes.length > 0) yield reading.bytes;
      offset += reading.bytes.length;
    }
  }

  /** What of the log is left when the VM has ended. */
  async *#rest(from: number): AsyncGenerator<Buffer, void> {
    for (let offset = from; ;) {
      const reading = await this.#parts.log.read(offset, settleMs, { signal: this.#disposing.signal });
      if (reading.outcome !== 'read') {
        // Destroyed with its log; or nobody but the line could tell, and it told all it had.
        if (reading.outcome === 'absent' || this.#parts.live) return;
        throw historyLost(this.#parts.name, offset, reading.outcome);
      }
      if (reading.bytes.length === 0) return;
      yield reading.bytes;
      offset += reading.bytes.length;
    }
  }

  /** The pty ends a moment before libvirt has noticed that the VM did. */
  async #untilEnded(): Promise<void> {
    const { clock, name, active } = this.#parts;
    const deadline = clock.now() + limits.hypervisorCallTimeoutMs;
    while (await active()) {
      if (clock.now() >= deadline) {
        throw new BringupError('connection-lost', `The console of ${name} ended although the VM goes on.`, {
          retryable: true,
        });
      }
      await sleep(clock, statePollMs, this.#disposing.signal);
    }
  }

  async write(data: Uint8Array, options: CallOptions = {}): Promise<void> {
    const { name, clock, line } = this.#parts;
    const what = `Write to the console of ${name}`;
    throwIfAborted(options.signal, what);
    if (this.#disposed !== undefined || line === undefined || (await settledNow(line.stream.ended))) {
      const error = line === undefined || this.#disposed !== undefined ? undefined : await line.stream.ended;
      throw (
        error ??
        new BringupError('console-closed', `The console of ${name} is closed: it was disposed or the VM has ended.`, {
          details: { name },
        })
      );
    }
    await withDeadline(clock, what, { timeoutMs: limits.hypervisorCallTimeoutMs, ...options }, () =>
      line.stream.write(data),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose();
    await this.#disposed;
  }

  async #dispose(): Promise<void> {
    const { line, clock, name } = this.#parts;
    this.#disposing.abort();
    if (line !== undefined) {
      // Until the daemon has let go, the console would still be busy for the next one.
      const letGo = async (): Promise<void> => {
        await line.stream.abort();
        await line.stream.closed;
      };
      await withDeadline(
        clock,
        `Close the console of ${name}`,
        { timeoutMs: limits.hypervisorCloseTimeoutMs },
        letGo,
      ).catch(() => {});
      await line.daemon[Symbol.asyncDispose]();
    }
    this.#parts.onDispose();
  }
}

/** Whether a promise has settled by now. */
async function settledNow(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}
