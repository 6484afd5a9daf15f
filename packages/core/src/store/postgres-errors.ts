import { BringupError } from '../errors.ts';

type Reason =
  'connection' | 'locked' | 'full' | 'overloaded' | 'unauthorized' | 'missing' | 'unwritable' | 'corrupt' | 'conflict';

interface Failure {
  readonly reason: Reason;
  readonly retryable: boolean;
  readonly message: (where: string) => string;
}

const failures: Readonly<Record<Reason, Failure>> = {
  connection: {
    reason: 'connection',
    retryable: true,
    message: (where) =>
      `the connection to the database ${where} was lost or can't be made; see whether it runs and is reachable`,
  },
  locked: {
    reason: 'locked',
    retryable: true,
    message: (where) =>
      `the database ${where} stayed locked by another process; pg_locks and pg_stat_activity there tell by which`,
  },
  full: {
    reason: 'full',
    retryable: false,
    message: (where) => `there is no room left to write the database ${where}; free space on its server`,
  },
  overloaded: {
    reason: 'overloaded',
    retryable: true,
    message: (where) =>
      `the database ${where} has no connection or memory left for us; raise max_connections there, or run fewer processes`,
  },
  unauthorized: {
    reason: 'unauthorized',
    retryable: false,
    message: (where) => `the database ${where} turned us away; check user and password, and its pg_hba.conf`,
  },
  missing: {
    reason: 'missing',
    retryable: false,
    message: (where) => `there is no database ${where}; make it with createdb`,
  },
  unwritable: {
    reason: 'unwritable',
    retryable: false,
    message: (where) =>
      `the database ${where} can't be written by this user: grant it CREATE on the database, and see that the server is no standby`,
  },
  corrupt: {
    reason: 'corrupt',
    retryable: false,
    message: (where) => `the database ${where} is damaged; restore a backup`,
  },
  conflict: {
    reason: 'conflict',
    retryable: true,
    message: (where) => `the database ${where} ended the transaction in favour of another one; try again`,
  },
};

/** By SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html; the longest prefix counts. */
const byState: Readonly<Record<string, Reason>> = {
  '08': 'connection',
  '25P03': 'connection',
  '57P01': 'connection',
  '57P02': 'connection',
  '57P03': 'connection',
  '57P05': 'connection',
  '55P03': 'locked',
  '53100': 'full',
  '53': 'overloaded',
  '28': 'unauthorized',
  '3D000': 'missing',
  '42501': 'unwritable',
  '25006': 'unwritable',
  XX: 'corrupt',
  '58': 'corrupt',
  '40': 'conflict',
};

/** SQLSTATE of an error, undefined for errors of another origin. */
function stateOf(error: unknown): string | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  return typeof code === 'string' && typeof severity === 'string' && code.length === 5 ? code : undefined;
}

function reasonOf(error: unknown): Reason | undefined {
  const state = stateOf(error);
  if (state !== undefined) return byState[state] ?? byState[state.slice(0, 2)];
  const { code, message } = error as { code?: unknown; message?: unknown };
  // Without a SQLSTATE it is the socket's error, or the driver's own about the connection.
  if (typeof code === 'string' && /^E[A-Z_]+$/.test(code)) return 'connection';
  return /^(?:Connection terminated|Client (?:has encountered|was closed)|timeout expired|Query read timeout|write after end)/i.test(
    String(message),
  )
    ? 'connection'
    : undefined;
}

/** Whether the connection is gone, or was never made, so that nobody knows more than that. */
export function isLostConnection(error: unknown): boolean {
  return reasonOf(error) === 'connection';
}

/** Whether a server that is there refuses for now: it starts, stops, or has no connection left. */
export function isBusyServer(error: unknown): boolean {
  const state = stateOf(error);
  return state === '57P03' || state === '53300';
}

/**
 * An error of PostgreSQL as `store-failed` when the database itself is in trouble. Any other one
 * (a constraint, a mistake in the SQL) comes back unchanged: its meaning is the caller's to give.
 */
export function postgresFailure(error: unknown, where: string): unknown {
  const reason = error instanceof Error ? reasonOf(error) : undefined;
  if (reason === undefined) return error;
  const { message, retryable } = failures[reason];
  return new BringupError('store-failed', `${message(where)} (${(error as Error).message})`, {
    cause: error,
    retryable,
    details: { database: where, reason, ...(stateOf(error) !== undefined && { sqlState: stateOf(error) ?? '' }) },
  });
}
