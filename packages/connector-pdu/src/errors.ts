import { BringupError, isBringupError, toBringupError } from '@bringup/core';
import type { ErrorCode, ErrorDetails } from '@bringup/core';

/** The device can't be reached, or was lost on the way. `sent`: whether it may have heard what it was asked. */
export function unreachable(
  message: string,
  { sent, cause, details }: { readonly sent: boolean; readonly cause?: unknown; readonly details?: ErrorDetails },
): BringupError {
  return new BringupError('connection-failed', message, { retryable: true, details: { ...details, sent }, cause });
}

/** The device does not let us in. */
export function refused(message: string, cause?: unknown): BringupError {
  return new BringupError('authentication-failed', message, { cause });
}

/** The device answers, but has not done it, or not said so in words that are understood. */
export function failed(message: string, { retryable = false, details = {} }: Partial<BringupError> = {}): BringupError {
  return new BringupError('power-failed', message, { retryable, details });
}

/** The board's configuration names an outlet that the device does not have. */
export function noSuchOutlet(message: string): BringupError {
  return new BringupError('invalid-input', message, { details: { issues: [{ path: 'powerControl', message }] } });
}

/** What a shell's errors are to somebody who wants power. */
const codes: Partial<Record<ErrorCode, ErrorCode>> = {
  'connection-lost': 'connection-failed',
  'command-failed': 'power-failed',
};

/** A driver's error with the names of the device and the outlet. The message goes on from `what`. */
export function explain(what: string, error: unknown, details: ErrorDetails): BringupError {
  const { code, message, retryable, details: inner } = toBringupError(error, 'power-failed');
  return new BringupError(codes[code] ?? code, `${what}: ${message}`, {
    cause: error,
    retryable,
    details: { ...inner, ...details },
  });
}

/** Whether the device may have done what it was told although the call failed. */
export function mayHaveHappened(error: unknown): error is BringupError {
  return isBringupError(error) && error.retryable && error.details['sent'] !== false;
}
