import { BringupError, limits, sleep, throwIfAborted, withDeadline } from '@bringup/core';
import type { CallOptions, Clock, Console } from '@bringup/core';
import { historyLost } from './console-log.ts';
import type { ConsoleLog } from './console-log.ts';
import type { Daemon } from './daemon.ts';
import { isRemoteError } from './rpc/remote-error.ts';
import type { RpcStream } from './rpc/stream.ts';

/** How long one look into the log waits on the host for news. */
const followMs = 5_000;

/** A log that does not grow for this long after its VM has ended is complete. */
const settleMs = 300;

/** Between two looks whether a VM whose console ended has ended itself, and for how long. */
export const statePollMs = 20;
export const stateLagMs = 2_000;

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
  /** What the VM is by now: `another` when it is the same VM with another QEMU. */
  readonly now: () => Promise<'same' | 'another' | 'ended'>;
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
        for await (const bytes of live ? this.#live(line.stream) : this.#follow(line.stream, offset)) {
          yield bytes;
          offset += bytes.length;
        }
        if (this.#disposing.signal.aborted) return;
        await this.#untilEnded(await line.stream.ended);
      }
      yield* this.#rest(offset);
    } catch (error) {
      if (!this.#disposing.signal.aborted) throw error;
    } finally {
      line?.stream.discard();
    }
  }

  /** What the line brings; why it ended is looked into afterwards. */
  async *#live(stream: RpcStream): AsyncGenerator<Buffer, void> {
    try {
      yield* stream.read();
    } catch (error) {
      if (!isRemoteError(error)) throw error;
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

  /**
   * Waits until libvirt has noticed that the VM ended, which it does a moment after the line has.
   * @throws `console-busy` when the VM goes on: somebody has taken the console; `connection-lost`.
   */
  async #untilEnded(error: Error | undefined): Promise<void> {
    const { clock, name, now } = this.#parts;
    // Not the daemon's word about the stream, but the end of the connection to it.
    if (error !== undefined && !isRemoteError(error)) throw error;
    const deadline = clock.now() + stateLagMs;
    for (;;) {
      const is = await now();
      if (is === 'ended') return;
      if (is === 'another') throw restarted(name);
      if (clock.now() >= deadline) throw takenOver(name, error);
      await sleep(clock, statePollMs, this.#disposing.signal);
    }
  }

  async write(data: Uint8Array, options: CallOptions = {}): Promise<void> {
    const { name, clock, line } = this.#parts;
    const what = `Write to the console of ${name}`;
    throwIfAborted(options.signal, what);
    if (this.#disposed !== undefined || line === undefined) throw closed(name);
    if (await settledNow(line.stream.ended)) {
      await this.#untilEnded(await line.stream.ended);
      throw closed(name);
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

function closed(name: string): BringupError {
  return new BringupError('console-closed', `The console of ${name} is closed: it was disposed or the VM has ended.`, {
    details: { name },
  });
}

function takenOver(name: string, cause: unknown): BringupError {
  return new BringupError(
    'console-busy',
    `The console of ${name} was taken over by another client, as \`virsh console --force\` does. What was said meanwhile is kept: open the console again from its offset when that one is through.`,
    { cause, retryable: true, details: { name, reason: 'taken-over' } },
  );
}

function restarted(name: string): BringupError {
  return new BringupError(
    'connection-lost',
    `The console of ${name} ended because the VM was put back to a snapshot or started anew. Open it again from its offset.`,
    { retryable: true, details: { name, reason: 'restarted' } },
  );
}

/** Whether a promise has settled by now. */
async function settledNow(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}
