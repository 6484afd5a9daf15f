import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Dialect } from 'kysely';
import { sleep } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import type { SqliteHandle } from './sqlite-connection.ts';
import { sqliteDialect } from './sqlite-dialect.ts';
import { isLocked, storeFailure } from './sqlite-errors.ts';

/** What {@link openSqlite} takes. */
export interface OpenSqliteOptions {
  /** Path of the database file, or `:memory:`. Missing folders are made. */
  readonly path: string;
  /** How long a statement waits for another process's lock, in ms. Default `limits.sqliteLockTimeoutMs`. */
  readonly lockTimeoutMs?: number;
  /** The time that waiting for a lock takes. Default: the machine's, see `sqliteDialect`. */
  readonly clock?: Clock;
}

/** A SQLite database that was opened and set up. */
export interface OpenedSqlite {
  readonly database: DatabaseSync;
  /** For Kysely, whose `destroy()` closes the database. */
  readonly dialect: Dialect;
  /** Closes the database if nobody did yet. */
  close(): void;
}

/**
 * Opens a database of Node's own SQLite for the store: write-ahead log, every commit durable
 * (`synchronous=FULL`), foreign keys enforced. Several processes on one machine may open one file;
 * network file systems can't carry it.
 * @throws `store-failed`, with `details.reason` one of `locked`, `unwritable`, `corrupt`, `full`, `io`.
 */
export async function openSqlite(options: OpenSqliteOptions): Promise<OpenedSqlite> {
  const inMemory = options.path === ':memory:';
  const file = inMemory ? options.path : path.resolve(options.path);
  if (!inMemory) await makeFolder(file);
  const clock = options.clock ?? systemClock;
  const giveUpAt = clock.now() + (options.lockTimeoutMs ?? limits.sqliteLockTimeoutMs);
  for (;;) {
    try {
      const database = openOnce(file, inMemory);
      return {
        database,
        dialect: sqliteDialect({ ...options, database, path: file }),
        close: () => {
          if (database.isOpen) database.close();
        },
      };
    } catch (error) {
      if (!isLocked(error) || clock.now() >= giveUpAt) throw storeFailure(error, file);
    }
    await sleep(clock, 5);
  }
}

/**
 * Sets a database up as the store needs it. For a caller's own better-sqlite3 or libsql database too.
 * @throws `store-failed` where the file system can't carry a write-ahead log.
 */
export function setUpSqlite(database: SqliteHandle, path: string): void {
  // For a new database. A reservation changes six pages a little: the less is written and summed up for each, the better.
  database.prepare('pragma page_size = 1024').run();
  const [row] = database.prepare('pragma journal_mode = wal').all() as { journal_mode?: unknown }[];
  const mode = row?.journal_mode;
  if (mode !== 'wal' && mode !== 'memory') {
    throw new BringupError(
      'store-failed',
      `the database ${path} lies on a file system that can't carry SQLite's write-ahead log; put it on a local disk`,
      { details: { path, reason: 'unwritable' } },
    );
  }
  // Locks are waited for by the connection; SQLite's own way of waiting stops the whole process.
  database.prepare('pragma busy_timeout = 0').all();
  database.prepare('pragma synchronous = full').run();
  database.prepare('pragma foreign_keys = on').run();
  // What savepoints and sorts set aside is small: in memory it costs no temporary file.
  database.prepare('pragma temp_store = memory').run();
  database.prepare(`pragma wal_autocheckpoint = ${limits.sqliteCheckpointPages}`).all();
  database.prepare(`pragma cache_size = -${limits.sqliteCacheKb}`).run();
}

function openOnce(file: string, inMemory: boolean): DatabaseSync {
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(file);
  try {
    setUpSqlite(database, file);
    if (!inMemory) {
      // Only taking the write lock shows that the file can be written.
      database.exec('begin immediate');
      database.exec('rollback');
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

async function makeFolder(file: string): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
  } catch (error) {
    throw new BringupError(
      'store-failed',
      `the folder ${path.dirname(file)} for the database can't be made: ${(error as Error).message}; choose another path or create it`,
      { cause: error, details: { path: file, reason: 'unwritable' } },
    );
  }
}

/**
 * Loads `node:sqlite` without the warning that some versions of Node print once, while it loads,
 * about its being experimental. Loading is synchronous: no other warning can come in between.
 */
function loadSqlite(): typeof import('node:sqlite') {
  const { emitWarning } = process;
  process.emitWarning = ((warning: string | Error, ...rest: unknown[]): void => {
    if (rest[0] === 'ExperimentalWarning' && String(warning).startsWith('SQLite ')) return;
    Reflect.apply(emitWarning, process, [warning, ...rest]);
  }) as typeof process.emitWarning;
  try {
    return process.getBuiltinModule('node:sqlite');
  } finally {
    process.emitWarning = emitWarning;
  }
}
