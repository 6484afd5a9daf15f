import { BringupError } from '@bringup/core';
import type { ErrorDetails } from '@bringup/core';

/** How a target is named in messages: `user@host`, with the port where it is not the usual one. */
export interface TargetName {
  readonly label: string;
  readonly details: ErrorDetails;
}

/** The connection ended while something still needed it. */
export function connectionLost(target: TargetName, cause?: unknown): BringupError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new BringupError('connection-lost', `The connection to ${target.label} was lost${why}. Connect again.`, {
    retryable: true,
    details: target.details,
    cause,
  });
}

/** A connection that could not be made, for a reason that is not the account's or the host key's. */
export function connectionFailed(target: TargetName, cause: unknown): BringupError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const advice = adviceFor(code);
  return new BringupError(
    'connection-failed',
    `Could not connect to ${target.label}: ${messageOf(cause)}${advice === undefined ? '' : `. ${advice}`}`,
    {
      retryable: code !== 'ENOTFOUND' && !isNegotiation(cause),
      details: { ...target.details, reason: code ?? null },
      cause,
    },
  );
}

/** The account could not be entered with what there is. */
export function authenticationFailed(
  target: TargetName,
  facts: { readonly tried: readonly string[]; readonly notes: readonly string[]; readonly accepted: readonly string[] },
  cause?: unknown,
): BringupError {
  const { tried, notes, accepted } = facts;
  const parts = [
    tried.length === 0 ? 'nothing could be tried' : `tried ${tried.join(', ')}`,
    ...notes,
    ...(accepted.length === 0 ? [] : [`the server accepts ${accepted.join(', ')}`]),
  ];
  return new BringupError('authentication-failed', `${target.label} refused the login: ${parts.join('; ')}.`, {
    details: { ...target.details, tried: [...tried], notes: [...notes], accepted: [...accepted] },
    cause,
  });
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(messageOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}

function adviceFor(code: string | undefined): string | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return 'Nothing listens there: is sshd running, and is the port right?';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'The name has no address: check it, or give `address`';
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'The machine does not answer: is it on, and is there a route to it?';
    default:
      return undefined;
  }
}

/** Algorithms in common do not appear by trying again. */
function isNegotiation(error: unknown): boolean {
  return messageOf(error).includes('no matching');
}
