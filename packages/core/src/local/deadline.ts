import { abortedError, throwIfAborted } from '../async.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';

/** The bounds of one call: the caller's signal, its time, and the life of what it runs on. */
export interface Deadline extends Disposable {
  /** Aborts, with the error as its reason, when the call has to end. */
  readonly signal: AbortSignal;
  /** What `promise` settles with, or the error the call has to end with, whichever comes first. */
  race<T>(promise: Promise<T>): Promise<T>;
}

/**
 * Starts the deadline of a call. `life` is the signal of the session or connection: when it aborts,
 * the call ends with that signal's reason.
 * @throws `aborted`, or the reason of `life`, when either already is.
 */
export function startDeadline(clock: Clock, what: string, options: CallOptions, life: AbortSignal): Deadline {
  life.throwIfAborted();
  throwIfAborted(options.signal, what);
  const controller = new AbortController();
  // Not one promise that all races share: each race would leave its reactions on it until the end.
  const racing = new Set<(error: unknown) => void>();
  const stop = (error: unknown): void => {
    controller.abort(error);
    for (const reject of racing) reject(controller.signal.reason);
  };
  const onAbort = (): void => stop(abortedError(what, options.signal));
  const onEndOfLife = (): void => stop(life.reason);
  options.signal?.addEventListener('abort', onAbort, { once: true });
  life.addEventListener('abort', onEndOfLife, { once: true });
  const { timeoutMs } = options;
  const timer = timeoutMs === undefined ? undefined : clock.timer(timeoutMs, () => stop(tookTooLong(what, timeoutMs)));
  return {
    signal: controller.signal,
    race: (promise) =>
      new Promise((resolve, reject) => {
        if (controller.signal.aborted) reject(controller.signal.reason);
        racing.add(reject);
        promise.then(resolve, reject).finally(() => racing.delete(reject));
      }),
    [Symbol.dispose](): void {
      timer?.[Symbol.dispose]();
      options.signal?.removeEventListener('abort', onAbort);
      life.removeEventListener('abort', onEndOfLife);
    },
  };
}

function tookTooLong(what: string, timeoutMs: number): BringupError {
  return new BringupError('deadline-exceeded', `${what} took longer than ${timeoutMs} ms`, {
    retryable: true,
    details: { timeoutMs },
  });
}

/** Waits until `promise` settles, either way, but not longer than `limitMs`. */
export async function settledWithin(clock: Clock, limitMs: number, promise: Promise<unknown>): Promise<void> {
  const over = Promise.withResolvers<void>();
  using _timer = clock.timer(limitMs, () => over.resolve());
  await Promise.race([Promise.allSettled([promise]), over.promise]);
}
