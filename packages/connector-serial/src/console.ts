import {
  BringupError,
  isBringupError,
  limits,
  throwIfAborted,
  withDeadline,
  type CallOptions,
  type Clock,
  type Console,
} from '@bringup/core';
import type { Carrier } from './carrier.ts';

/** What a {@link SerialConsole} is made of. */
export interface SerialConsoleOptions {
  /** Name of the machine, for messages. */
  readonly name: string;
  readonly carrier: Carrier;
  readonly clock: Clock;
  /** Called once, when the line is free again. */
  readonly onFree: () => void;
}

/** A console over any carrier: bounded reading, writes in order, an end that everybody is told of. */
export class SerialConsole implements Console {
  readonly output: AsyncIterable<Uint8Array>;
  readonly sendBreak?: () => Promise<void>;
  readonly #name: string;
  readonly #carrier: Carrier;
  readonly #clock: Clock;
  readonly #onFree: () => void;
  #chunks: Uint8Array[] = [];
  #size = 0;
  #paused = false;
  /** Whoever read the output has left: nobody will read what comes. */
  #deaf = false;
  #lost: BringupError | undefined;
  #disposed: Promise<void> | undefined;
  #wake: () => void = () => {};
  #writing: Promise<void> = Promise.resolve();

  constructor({ name, carrier, clock, onFree }: SerialConsoleOptions) {
    this.#name = name;
    this.#carrier = carrier;
    this.#clock = clock;
    this.#onFree = onFree;
    let iterated = false;
    this.output = {
      [Symbol.asyncIterator]: () => {
        if (iterated) throw new TypeError('the output of a console may be iterated once');
        iterated = true;
        return this.#read();
      },
    };
    if (carrier.sendBreak !== undefined) this.sendBreak = () => this.#sendBreak();
  }

  /** Begins to listen; called once, when whoever hears `onFree` is ready for it. */
  start(): void {
    this.#carrier.attach({ data: (bytes) => this.#hear(bytes), lost: (cause) => this.#lose(cause) });
  }

  /** Writes go out in the order of the calls. */
  write(data: Uint8Array, options: CallOptions = {}): Promise<void> {
    const what = `writing to the console of ${this.#name}`;
    const bytes = Uint8Array.from(data);
    const bounded = { timeoutMs: limits.serialWriteMs, ...options };
    return withDeadline(this.#clock, what, bounded, (signal) => {
      const write = this.#writing.then(async () => {
        throwIfAborted(signal, what);
        this.#throwIfGone();
        await this.#carried(() => this.#carrier.write(bytes));
      });
      this.#writing = write.catch(() => {});
      return write;
    });
  }

  /** Frees the line. Idempotent; bounded by `limits.serialCloseMs`. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#close();
    return this.#disposed;
  }

  async #close(): Promise<void> {
    this.#wake();
    const bounded = { timeoutMs: limits.serialCloseMs };
    const close = withDeadline(this.#clock, `closing the console of ${this.#name}`, bounded, () =>
      this.#carrier.close(),
    );
    // What can't be closed in time is beyond help, and whoever lets go is not the one to tell.
    await close.catch(() => {});
    this.#onFree();
  }

  async #sendBreak(): Promise<void> {
    this.#throwIfGone();
    await this.#carried(() => this.#carrier.sendBreak?.() ?? Promise.resolve());
  }

  /** A carrier that fails has lost the way, unless it says what else is wrong. */
  async #carried(act: () => Promise<void>): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#throwIfGone();
      if (isBringupError(error)) throw error;
      this.#lose(error);
      throw this.#lost ?? error;
    }
  }

  #throwIfGone(): void {
    if (this.#disposed !== undefined)
      throw new BringupError('console-closed', `the console of ${this.#name} was closed`);
    if (this.#lost !== undefined) throw this.#lost;
  }

  #hear(bytes: Uint8Array): void {
    if (this.#deaf || this.#disposed !== undefined || bytes.length === 0) return;
    this.#chunks.push(bytes);
    this.#size += bytes.length;
    if (this.#size > limits.serialBufferBytes && !this.#paused) {
      this.#paused = true;
      this.#carrier.pause();
    }
    this.#wake();
  }

  #lose(cause: unknown): void {
    if (this.#lost !== undefined || this.#disposed !== undefined) return;
    const why = cause instanceof Error ? `: ${cause.message}` : '';
    this.#lost = isBringupError(cause, 'connection-lost')
      ? cause
      : new BringupError('connection-lost', `the way to the console of ${this.#name} broke${why}`, {
          cause,
          retryable: true,
        });
    this.#wake();
    void this.#carrier.close().catch(() => {});
    this.#onFree();
  }

  async *#read(): AsyncGenerator<Uint8Array, void, void> {
    try {
      while (this.#disposed === undefined) {
        const bytes = this.#chunks.shift();
        if (bytes !== undefined) {
          this.#size -= bytes.length;
          if (this.#paused && this.#size <= limits.serialBufferBytes / 2) this.#resume();
          yield bytes;
        } else if (this.#lost !== undefined) throw this.#lost;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      this.#deaf = true;
      this.#chunks = [];
      // Unread bytes would keep the carrier from noticing that the way broke.
      if (this.#paused) this.#resume();
    }
  }

  #resume(): void {
    this.#paused = false;
    this.#carrier.resume();
  }
}
