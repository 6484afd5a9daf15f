import type { Clock, Logger, Random, Timer } from './contracts/runtime.ts';

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  timer(delayMs, fire, options): Timer {
    const due = performance.now() + delayMs;
    // setTimeout counts in whole milliseconds, and fires by up to one too early, and at once for delays beyond 2^31 ms.
    const set = (ms: number): NodeJS.Timeout => {
      const timeout = setTimeout(onTimeout, Math.min(ms, 2 ** 31 - 1));
      if (options?.background === true) timeout.unref();
      return timeout;
    };
    const onTimeout = (): void => {
      const restMs = due - performance.now();
      if (restMs > 0) handle = set(restMs);
      else fire();
    };
    let handle = set(delayMs);
    return { [Symbol.dispose]: () => clearTimeout(handle) };
  },
};

/** The runtime's own randomness. */
export const systemRandom: Random = { next: () => Math.random() };

/** Drops every message. */
export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} };

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const timeDigits = 10;
const randomDigits = 16;

/** The last id made with a clock: its time, and its random part as numbers below 32. */
interface LastId {
  timeMs: number;
  readonly digits: number[];
}

const lastIds = new WeakMap<Clock, LastId>();

/**
 * An id that sorts by the time it was made: ten characters of time and sixteen of randomness in
 * Crockford's base 32, lower case (the layout of a ULID). Ids made with the same clock sort in the
 * order they were made, also within a millisecond and when the clock is set back: then the time stays
 * what it was and the random part counts up. Ids of different processes have no order within a
 * millisecond.
 */
export function newId(clock: Clock, random: Random): string {
  const { timeMs, digits } = nextId(clock, random);
  let id = '';
  for (let at = 0, rest = timeMs; at < timeDigits; at += 1) {
    id = alphabet.charAt(rest % 32) + id;
    rest = Math.floor(rest / 32);
  }
  for (const digit of digits) id += alphabet.charAt(digit);
  return id;
}

function nextId(clock: Clock, random: Random): LastId {
  const nowMs = Math.floor(clock.now());
  const last = lastIds.get(clock);
  if (last !== undefined && nowMs <= last.timeMs) {
    countUp(last);
    return last;
  }
  const digits = Array.from({ length: randomDigits }, () => Math.floor(random.next() * 32));
  const next = { timeMs: nowMs, digits };
  lastIds.set(clock, next);
  return next;
}

function countUp(last: LastId): void {
  for (let at = randomDigits - 1; at >= 0; at -= 1) {
    const digit = (last.digits[at] ?? 0) + 1;
    last.digits[at] = digit % 32;
    if (digit < 32) return;
  }
  last.timeMs += 1;
}
