import type { Clock, Logger, Random, Timer } from './contracts/runtime.ts';

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  timer(delayMs, fire, options): Timer {
    // setTimeout fires at once for delays beyond 2^31 ms; nothing here needs to wait 24 days.
    const handle = setTimeout(fire, Math.min(delayMs, 2 ** 31 - 1));
    if (options?.background === true) handle.unref();
    return { [Symbol.dispose]: () => clearTimeout(handle) };
  },
};

/** The runtime's own randomness. */
export const systemRandom: Random = { next: () => Math.random() };

/** Drops every message. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * An id that sorts by the time it was made: ten characters of time and sixteen of randomness in
 * Crockford's base 32, lower case (the layout of a ULID).
 */
export function newId(clock: Clock, random: Random): string {
  let time = clock.now();
  let id = '';
  for (let i = 0; i < 10; i += 1) {
    id = alphabet.charAt(time % 32) + id;
    time = Math.floor(time / 32);
  }
  for (let i = 0; i < 16; i += 1) id += alphabet.charAt(Math.floor(random.next() * 32));
  return id;
}
