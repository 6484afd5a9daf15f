import type { CallOptions, Clock, Timer } from './contracts/runtime.ts';
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
 * settles at once even if the operation never does, and the operation sees its signal abort. What it opened all the
 * same is closed, as nobody has it: the signal may abort when it is done, just before the caller would have heard of it.
 * @throws `aborted`, `deadline-exceeded`, or what the operation throws.
 */
export function withDeadline<T>(
  clock: Clock,
  what: string,
  options: CallOptions,
  operation: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal, timeoutMs } = options;
  // Thousands a second of these are made, so nothing but closures holds what belongs to one: see `LookCall`.
  return new Promise((resolve, reject) => {
    throwIfAborted(signal, what);
    const controller = new AbortController();
    let over = false;
    const end = (): void => {
      over = true;
      timer?.[Symbol.dispose]();
      signal?.removeEventListener('abort', onAbort);
    };
    const stop = (error: BringupError): void => {
      end();
      reject(error);
      controller.abort(error);
    };
    const onAbort = (): void => stop(abortedError(what, signal));
    signal?.addEventListener('abort', onAbort, { once: true });
    const timer = timeoutMs === undefined ? undefined : clock.timer(timeoutMs, () => stop(tooLate(what, timeoutMs)));
    const failed = (error: unknown): void => {
      end();
      reject(error as Error);
    };
    try {
      operation(controller.signal).then((result) => {
        if (over) return close(result);
        end();
        resolve(result);
      }, failed);
    } catch (error) {
      failed(error);
    }
  });
}

/** Closes what nobody has, if it is something to close. Nobody hears how that went either. */
function close(result: unknown): void {
  if (typeof result !== 'object' || result === null || !(Symbol.asyncDispose in result)) return;
  void (result as AsyncDisposable)[Symbol.asyncDispose]().then(undefined, () => undefined);
}

function tooLate(what: string, timeoutMs: number): BringupError {
  return new BringupError('deadline-exceeded', `${what} took longer than ${timeoutMs} ms`, {
    retryable: true,
    details: { timeoutMs },
  });
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

/**
 * Tells how many milliseconds have passed since a moment that may have been stored by a process whose clock is ahead, or
 * read before this one's was put right: a moment that is yet to come is now, so that nobody waits until that time comes here.
 */
export function elapsedSince(clock: Clock, moment: number): () => number {
  let since = moment;
  return () => {
    const now = clock.now();
    since = Math.min(since, now);
    return now - since;
  };
}

/** Calls `act` when the signal aborts, at once if it already has; dispose of the result to stop listening. */
export function onAbort(signal: AbortSignal | undefined, act: () => void): Disposable {
  if (signal?.aborted === true) act();
  else signal?.addEventListener('abort', act, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener('abort', act) };
}

/** Waits for an end of something that comes in bursts. */
export interface Quiet {
  /** It came once more: the waiting begins anew. */
  readonly disturb: () => void;
  /** Resolves when `quietMs` have passed without a disturbance. */
  readonly settled: Promise<void>;
}

/** Starts to wait until nothing has come for `quietMs`. */
export function untilQuiet(clock: Clock, quietMs: number): Quiet {
  const settled = Promise.withResolvers<void>();
  const arm = (): Timer => clock.timer(quietMs, () => settled.resolve());
  let timer = arm();
  return {
    disturb: () => {
      timer[Symbol.dispose]();
      timer = arm();
    },
    settled: settled.promise,
  };
}
