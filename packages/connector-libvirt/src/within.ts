import { BringupError, isBringupError } from '@bringup/core';
import type { CallOptions, Clock } from '@bringup/core';

/**
 * Runs an operation of several steps under one deadline. Unlike `withDeadline` it lets the
 * operation put things straight before it settles.
 * @throws `deadline-exceeded`, and what the operation throws.
 */
export async function within<T>(
  clock: Clock,
  what: string,
  options: CallOptions,
  operation: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const { signal, timeoutMs } = options;
  if (timeoutMs === undefined) return operation(signal === undefined ? {} : { signal });
  const late = new AbortController();
  using _timer = clock.timer(timeoutMs, () => late.abort());
  try {
    return await operation({ signal: signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]) });
  } catch (error) {
    if (!late.signal.aborted || !isBringupError(error, 'aborted')) throw error;
    throw new BringupError('deadline-exceeded', `${what} took longer than ${timeoutMs} ms`, {
      cause: error,
      retryable: true,
      details: { timeoutMs },
    });
  }
}
