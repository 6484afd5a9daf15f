/** How far a call has come. */
interface Entry {
  readonly start: () => void;
}

/**
 * Lets a bounded number of calls be under way and queues the others in order. A slot belongs to a
 * call until the daemon has answered, whether or not anybody still waits for the answer: libvirt
 * stops reading from a client that has more than five requests open.
 */
export class CallSlots {
  readonly #waiting = new Set<Entry>();
  readonly #limit: number;
  #taken = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Calls that wait for a slot. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Calls `start` now or when a slot is free. The result takes it out of the queue, if it is still there. */
  enter(start: () => void): () => void {
    if (this.#taken < this.#limit) {
      this.#taken += 1;
      start();
      return () => {};
    }
    const entry: Entry = { start };
    this.#waiting.add(entry);
    return () => this.#waiting.delete(entry);
  }

  /** Gives a slot back. */
  leave(): void {
    const [next] = this.#waiting;
    if (next === undefined) {
      this.#taken -= 1;
      return;
    }
    this.#waiting.delete(next);
    next.start();
  }

  /** Forgets all that wait. */
  clear(): void {
    this.#waiting.clear();
  }
}
