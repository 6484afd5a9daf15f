import type { BlobInfo } from '../contracts/artifact-storage.ts';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { settledWithin, type Deadline } from '../local/deadline.ts';

/** The puts of a storage that are under way. */
export class Puts {
  readonly #clock: Clock;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Ends with the put or, when it is cut short, once it has cleaned up; disposes of the deadline. */
  async finish(deadline: Deadline, put: Promise<BlobInfo>): Promise<BlobInfo> {
    let stored: BlobInfo | undefined;
    const work = put.then((info) => (stored = info));
    this.#underWay.add(work);
    try {
      return await deadline.race(work);
    } catch (error) {
      // What was complete by then is stored after all.
      await settledWithin(this.#clock, limits.killGraceMs, work);
      if (stored !== undefined) return stored;
      throw error;
    } finally {
      this.#underWay.delete(work);
      deadline[Symbol.dispose]();
    }
  }

  /** Waits until none is under way, but not for ever. */
  async settled(): Promise<void> {
    await settledWithin(this.#clock, limits.killGraceMs, Promise.allSettled(this.#underWay));
  }
}
