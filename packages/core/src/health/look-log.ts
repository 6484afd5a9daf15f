import type { StoredLook } from './history.ts';

const figuresPerLook = 10;

/**
 * Looks that are not stored yet: the last minute of one resource. Their figures are in one array that
 * serves minute after minute; objects of their own would live long enough to be expensive to get rid of.
 */
export class LookLog {
  /** NaN where a look has no figure. */
  #figures = new Float64Array(8 * figuresPerLook);
  #count = 0;

  /** When the first look was made; undefined without any. */
  get since(): number | undefined {
    return this.#count === 0 ? undefined : this.#figures[0];
  }

  add(look: StoredLook): void {
    const from = this.#count * figuresPerLook;
    if (from === this.#figures.length) {
      const larger = new Float64Array(2 * from);
      larger.set(this.#figures);
      this.#figures = larger;
    }
    for (let index = 0; index < figuresPerLook; index += 1) this.#figures[from + index] = look[index] ?? Number.NaN;
    this.#count += 1;
  }

  /** The looks, oldest first. */
  looks(): StoredLook[] {
    return Array.from({ length: this.#count }, (_, index) => {
      const figures = this.#figures.subarray(index * figuresPerLook, (index + 1) * figuresPerLook);
      // What `add` was given, which was one.
      return Array.from(figures, (figure) => (Number.isNaN(figure) ? null : figure)) as unknown as StoredLook;
    });
  }

  clear(): void {
    this.#count = 0;
  }
}
