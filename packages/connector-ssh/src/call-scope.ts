import { abortedError, BringupError } from '@bringup/core';
import type { CallOptions, Clock } from '@bringup/core';

/** The signal and the deadline of one call as one signal, whose reason is the error to throw. */
export class CallScope implements Disposable {
  readonly #controller = new AbortController();
  readonly #release: () => void;

  constructor(clock: Clock, what: string, { signal, timeoutMs }: CallOptions) {
    const abort = (): void => this.cut(abortedError(what, signal));
    signal?.addEventListener('abort', abort, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : clock.timer(timeoutMs, () =>
            this.cut(
              new BringupError('deadline-exceeded', `${what} took longer than ${timeoutMs} ms`, {
                retryable: true,
                details: { timeoutMs },
              }),
            ),
          );
    this.#release = (): void => {
      signal?.removeEventListener('abort', abort);
      timer?.[Symbol.dispose]();
    };
    if (signal?.aborted === true) abort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ends the call with `error`; the first one counts. */
  cut(error: BringupError): void {
    this.#controller.abort(error);
  }

  /** @throws what the call was cut with. */
  check(): void {
    this.signal.throwIfAborted();
  }

  /** Settles as `operation` does, or rejects as soon as the call is cut. */
  async race<T>(operation: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const cut = (): void => reject(this.signal.reason);
    this.signal.addEventListener('abort', cut, { once: true });
    if (this.signal.aborted) cut();
    try {
      return await Promise.race([operation, promise]);
    } finally {
      this.signal.removeEventListener('abort', cut);
    }
  }

  [Symbol.dispose](): void {
    this.#release();
  }
}
