import type { Clock } from '../contracts/runtime.ts';

/** A time that a process has written, and how long after its writing it lies. */
export interface WrittenTime {
  readonly key: string;
  /** Milliseconds since the Unix epoch, by the clock of whoever wrote it. */
  readonly at: number;
  readonly lengthMs: number;
}

/**
 * Times that lie further ahead than they could if whoever wrote them had this process's clock: one of the two
 * clocks is wrong, and nobody knows which. So what the clocks say is left aside. Whoever lives writes a lease anew
 * long before its length is over; a time that was seen to stay the same for its length has passed. A process
 * that lives loses nothing by it, whoever's clock is wrong; and one that dies, no more than that length.
 */
export class FarTimes {
  readonly #clock: Clock;
  #seen = new Map<string, { readonly at: number; readonly since: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Of all times that are too far ahead, those that have passed. To be asked now and then. */
  passed<T extends WrittenTime>(far: readonly T[]): T[] {
    const now = this.#clock.now();
    const seen = new Map<string, { readonly at: number; readonly since: number }>();
    const passed = far.filter(({ key, at, lengthMs }) => {
      const before = this.#seen.get(key);
      // A clock that was set back meanwhile can't tell how long it was: begin again.
      const since = before?.at === at && before.since <= now ? before.since : now;
      seen.set(key, { at, since });
      return now - since >= lengthMs;
    });
    this.#seen = seen;
    return passed;
  }
}
