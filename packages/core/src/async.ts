import type { CallOptions, Clock } from './contracts/runtime.ts';
import { BringupError } from './errors.ts';

/** The error for an aborted call; the signal's reason is its cause. */
export function abortedError(what: string, signal?: AbortSignal): BringupError {
  return new BringupError('aborted', `${what} was aborted`, { cause: signal?.reason });
}

/** Throws `aborted` when the signal already is. */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted === true) throw abortedError(what, signal);
}

/**
 * Runs `operation` under the caller's signal and deadline. Whichever ends first decides: the call
 * settles at once even if the operation never does, and the operation sees its signal abort.
 * @throws `aborted`, `deadline-exceeded`, or what the operation throws.
 */
export async function withDeadline<T>(
  clock: Clock,
  what: string,
  options: CallOptions,
  operation: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  throwIfAborted(options.signal, what);
  const controller = new AbortController();
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const stop = (error: BringupError): void => {
    reject(error);
    controller.abort(error);
  };
  const onAbort = (): void => stop(abortedError(what, options.signal));
  options.signal?.addEventListener('abort', onAbort, { once: true });
  // Node 22 has no `using` declarations.
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : clock.timer(options.timeoutMs, () =>
          stop(
            new BringupError('deadline-exceeded', `${what} took longer than ${options.timeoutMs} ms`, {
              retryable: true,
              details: { timeoutMs: options.timeoutMs ?? null },
            }),
          ),
        );
  try {
    return await Promise.race([operation(controller.signal), cut]);
  } finally {
    timer?.[Symbol.dispose]();
    options.signal?.removeEventListener('abort', onAbort);
  }
}

/** Waits on the clock. @throws `aborted`. */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(abortedError('wait', signal));
      return;
    }
    const timer = clock.timer(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    const onAbort = (): void => {
      timer[Symbol.dispose]();
      reject(abortedError('wait', signal));
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** Calls `act` when the signal aborts, at once if it already has; dispose of the result to stop listening. */
export function onAbort(signal: AbortSignal | undefined, act: () => void): Disposable {
  if (signal?.aborted === true) act();
  else signal?.addEventListener('abort', act, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', act) };
}
