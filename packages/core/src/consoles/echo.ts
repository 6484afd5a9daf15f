import { onAbort } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';

/**
 * Waits for a terminal to echo what was typed. The echo's bytes come in order, but other things come
 * between them: kernel messages, prompts, a carriage return where the line wraps. What a terminal shows
 * in its own way (control characters) is not waited for.
 */
export class Echo {
  readonly #wanted: Uint8Array;
  readonly #done = Promise.withResolvers<boolean>();
  #at = 0;

  constructor(typed: Uint8Array) {
    this.#wanted = typed.filter((byte) => byte >= 0x20 && byte !== 0x7f);
    if (this.#wanted.length === 0) this.#done.resolve(true);
  }

  /** Takes what the console says. */
  hear(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (byte === this.#wanted[this.#at]) this.#at += 1;
    }
    if (this.#at >= this.#wanted.length) this.#done.resolve(true);
  }

  /** Whether all of it was echoed within `limits.consoleEchoMs`; an abort ends the waiting too. */
  async seen(clock: Clock, signal: AbortSignal): Promise<boolean> {
    using _abort = onAbort(signal, () => this.#done.resolve(false));
    using _timer = clock.timer(limits.consoleEchoMs, () => this.#done.resolve(false));
    return await this.#done.promise;
  }
}
