import { onAbort } from '../async.ts';
import { limits } from '../limits.ts';
import type { WorkContext } from '../work/handler.ts';

/** Stores progress now and then, one write at a time. */
export class Progress implements AsyncDisposable {
  readonly #store: (transferredBytes: number) => Promise<void>;
  readonly #now: () => number;
  readonly #abort: Disposable;
  #toldAt = 0;
  #storing: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(context: WorkContext, store: (transferredBytes: number) => Promise<void>) {
    this.#store = store;
    this.#now = () => context.clock.now();
    this.#abort = onAbort(context.signal, () => (this.#stopped = true));
  }

  tell(transferredBytes: number): void {
    if (this.#stopped || this.#now() - this.#toldAt < limits.flashProgressMs) return;
    this.#toldAt = this.#now();
    // A lost lease shows at the next write that counts.
    this.#storing = this.#storing.then(() => this.#store(transferredBytes)).catch(() => undefined);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#storing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort[Symbol.dispose]();
    await this.stop();
  }
}
