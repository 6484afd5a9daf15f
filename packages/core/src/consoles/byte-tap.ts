import { onAbort } from '../async.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';

/** A console's bytes for a protocol that reads them one by one; see `ConsoleSession.raw`. */
export class ByteTap {
  readonly #clock: Clock;
  #chunks: Uint8Array[] = [];
  #at = 0;
  #size = 0;
  #end: { readonly error: BringupError | undefined } | undefined;
  #wake: () => void = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The next byte; undefined when none came in time.
   * @param options `timeoutMs` default `limits.execTimeoutMs`.
   * @throws `console-closed`, what broke the console, or `signal`'s reason.
   */
  async read({ signal, timeoutMs = limits.execTimeoutMs }: CallOptions = {}): Promise<number | undefined> {
    let late = false;
    const wake = (): void => this.#wake();
    using _abort = onAbort(signal, wake);
    using _timer = this.#clock.timer(timeoutMs, () => {
      late = true;
      wake();
    });
    for (;;) {
      signal?.throwIfAborted();
      const byte = this.#take();
      if (byte !== undefined) return byte;
      if (this.#end !== undefined) throw this.#end.error ?? new BringupError('console-closed', 'the console ended');
      if (late) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Forgets what has come and was not read. */
  drain(): Uint8Array {
    const rest = Buffer.concat(this.#chunks).subarray(this.#at);
    this.#chunks = [];
    this.#at = 0;
    this.#size = 0;
    return rest;
  }

  /** The console said this. What nobody reads is bounded: the oldest goes. @internal */
  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size > limits.consoleWindowBytes && this.#chunks.length > 1) {
      this.#size -= (this.#chunks.shift()?.length ?? 0) - this.#at;
      this.#at = 0;
    }
    this.#wake();
  }

  /** The console ended. @internal */
  end(error: BringupError | undefined): void {
    this.#end = { error };
    this.#wake();
  }

  #take(): number | undefined {
    const byte = this.#chunks[0]?.[this.#at];
    if (byte === undefined) return undefined;
    this.#at += 1;
    this.#size -= 1;
    if (this.#at === this.#chunks[0]?.length) {
      this.#chunks.shift();
      this.#at = 0;
    }
    return byte;
  }
}
