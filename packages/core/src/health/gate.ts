/**
 * Lets a bounded number through at a time, in the order they came. Made for thousands of passes a second:
 * it tells nobody and keeps no account of who is inside, as a general queue would.
 */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param places - how many can be inside at a time. */
  constructor(places: number) {
    this.#free = places;
  }

  /** Waits for a place and holds it until `act` has settled. @throws what `act` throws. */
  async pass<T>(act: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await act();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
