import { BringupError } from '../errors.ts';

/** Primary result codes of SQLite, https://sqlite.org/rescode.html. */
const primaryCodes: Readonly<Record<string, number>> = {
  SQLITE_PERM: 3,
  SQLITE_BUSY: 5,
  SQLITE_LOCKED: 6,
  SQLITE_READONLY: 8,
  SQLITE_IOERR: 10,
  SQLITE_CORRUPT: 11,
  SQLITE_FULL: 13,
  SQLITE_CANTOPEN: 14,
  SQLITE_NOTADB: 26,
};

interface Failure {
  readonly reason: 'locked' | 'unwritable' | 'full' | 'corrupt' | 'io';
  readonly message: (path: string) => string;
}

const locked: Failure = {
  reason: 'locked',
  message: (path) =>
    `the database ${path} stayed locked by another process; end the program that holds it (fuser ${path} names it), or try again`,
};
const unwritable: Failure = {
  reason: 'unwritable',
  message: (path) =>
    `the database ${path} can't be opened for writing; this account needs write access to the file and to its folder, where SQLite keeps the -wal and -shm files`,
};
const corrupt: Failure = {
  reason: 'corrupt',
  message: (path) =>
    `the database ${path} is damaged or not a SQLite database; restore a backup, or move the file away to start with an empty one (sqlite3 ${path} .recover saves what is left)`,
};
const full: Failure = {
  reason: 'full',
  message: (path) => `there is no room left to write the database ${path}; free space on its file system and try again`,
};
const io: Failure = {
  reason: 'io',
  message: (path) => `the database ${path} could not be read or written; look for disk errors in the kernel log`,
};

const failures: Readonly<Record<number, Failure>> = {
  3: unwritable,
  5: locked,
  6: locked,
  8: unwritable,
  10: io,
  11: corrupt,
  13: full,
  14: unwritable,
  26: corrupt,
};

/**
 * SQLite's primary result code of an error, undefined for errors of another origin. `node:sqlite`
 * says it in `errcode` (extended codes carry it in their low byte), better-sqlite3 and libsql in
 * `code` as a name.
 */
function primaryCode(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  const { errcode, code } = error as { errcode?: unknown; code?: unknown };
  if (typeof errcode === 'number') return errcode & 0xff;
  if (typeof code !== 'string') return undefined;
  return primaryCodes[code.split('_', 2).join('_')];
}

/** Whether the statement did nothing because another connection holds the lock it needs. */
export function isLocked(error: unknown): boolean {
  return primaryCode(error) === primaryCodes['SQLITE_BUSY'];
}

/**
 * An error of SQLite as `store-failed` when the database itself is in trouble. Any other one
 * (a constraint, a mistake in the SQL) comes back unchanged: its meaning is the caller's to give.
 */
export function storeFailure(error: unknown, path: string): unknown {
  const code = primaryCode(error);
  const failure = code === undefined ? undefined : failures[code];
  if (code === undefined || failure === undefined) return error;
  return new BringupError('store-failed', failure.message(path), {
    cause: error,
    retryable: failure.reason === 'locked',
    details: { path, reason: failure.reason, sqliteCode: code },
  });
}
