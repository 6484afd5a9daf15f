/**
 * Things to put away, newest first. What the language's `AsyncDisposableStack` does, which the oldest
 * supported Node lacks.
 */
export class Cleanup implements AsyncDisposable {
  #steps: (() => void | PromiseLike<void>)[] = [];

  /** Disposes of `resource` later; gives it back. */
  use<R extends AsyncDisposable | Disposable>(resource: R): R {
    this.defer(() => (Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : resource[Symbol.dispose]()));
    return resource;
  }

  /** Runs `step` later. */
  defer(step: () => void | PromiseLike<void>): void {
    this.#steps.push(step);
  }

  /** Hands everything over to a new owner; this one has nothing left to do. */
  move(): Cleanup {
    const moved = new Cleanup();
    moved.#steps = this.#steps;
    this.#steps = [];
    return moved;
  }

  /** Every step is taken, even when one fails; then the first failure is thrown. */
  async [Symbol.asyncDispose](): Promise<void> {
    const steps = this.#steps;
    this.#steps = [];
    const failures: unknown[] = [];
    for (const step of steps.toReversed()) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
