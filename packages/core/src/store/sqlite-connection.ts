import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import { sleep } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { isLocked, storeFailure } from './sqlite-errors.ts';

/** A value as SQLite takes it. */
export type SqliteValue = null | number | bigint | string | Uint8Array;

/** The part of a prepared statement that is used here. */
export interface SqliteStatement {
  /** Whether it returns rows; `node:sqlite` has `columns` instead. */
  readonly reader?: boolean;
  columns?(): readonly unknown[];
  all(...parameters: SqliteValue[]): unknown[];
  run(...parameters: SqliteValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint };
  iterate(...parameters: SqliteValue[]): Iterator<unknown>;
}

/**
 * The part of an open database that is used here: `DatabaseSync` of `node:sqlite`, and the
 * databases of better-sqlite3 and libsql, have it.
 */
export interface SqliteHandle {
  prepare(sql: string): SqliteStatement;
  close(): void;
  /** Whether a transaction is open, as `node:sqlite` calls it. */
  readonly isTransaction?: boolean;
  /** The same, as better-sqlite3 calls it. */
  readonly inTransaction?: boolean;
}

/** What a connection works with. */
export interface SqliteConnectionOptions {
  readonly handle: SqliteHandle;
  /** Names the database in errors. */
  readonly path: string;
  /** How long a statement waits for another connection's lock. */
  readonly lockTimeoutMs: number;
  readonly clock: Clock;
}

interface Prepared {
  readonly statement: SqliteStatement;
  readonly reader: boolean;
  /** Which use of a statement was the last one of this. */
  lastUse: number;
}

const longestPauseMs = 20;
/** Statements that change what `*` means; Node 22 keeps the old columns in statements prepared before. */
const changesSchema = /^\s*(?:create|alter|drop|attach|detach|pragma|vacuum)\b/i;

/**
 * The one connection of a database. Statements stay prepared, the most recently used
 * `limits.sqliteStatements` of them.
 *
 * SQLite's own busy handler is not used: it sleeps on the main thread, which stops heartbeats and,
 * when the lock's holder is this very process, waits for something that can't happen. Outside of a
 * transaction a statement that met a lock has done nothing, so it is tried again after a pause.
 */
export class SqliteConnection implements DatabaseConnection {
  readonly #options: SqliteConnectionOptions;
  readonly #prepared = new Map<string, Prepared>();
  #uses = 0;

  constructor(options: SqliteConnectionOptions) {
    this.#options = options;
  }

  /** Number of statements that are kept prepared. */
  get preparedStatements(): number {
    return this.#prepared.size;
  }

  /** Whether a transaction is open. SQLite ends one by itself after some errors, a full disk for one. */
  get inTransaction(): boolean {
    const { handle } = this.#options;
    return handle.isTransaction ?? handle.inTransaction ?? false;
  }

  /** Runs a query. @throws `store-failed`, `aborted` while waiting for a lock, or SQLite's own error. */
  async executeQuery<R>(
    query: CompiledQuery,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<QueryResult<R>> {
    return await this.#whenUnlocked(() => this.#run<R>(query.sql, query.parameters), this.now(), options?.signal);
  }

  /** Runs a query inside the open transaction, which waits for nobody. @throws `store-failed`, or SQLite's own error. */
  executeNow<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    try {
      return this.#run<R>(sql, parameters);
    } catch (error) {
      throw storeFailure(error, this.#options.path);
    }
  }

  /** Runs a statement that gives nothing back. @throws `store-failed`, or SQLite's own error. */
  run(statement: string): void {
    try {
      this.#prepare(statement).statement.run();
    } catch (error) {
      throw storeFailure(error, this.#options.path);
    }
  }

  /** The same, waiting for another connection's lock; `since` is when the wait began. @throws as {@link run}. */
  async runWhenUnlocked(statement: string, since: number): Promise<void> {
    await this.#whenUnlocked(() => this.#prepare(statement).statement.run(), since);
  }

  /** The time that waiting for a lock takes. */
  now(): number {
    return this.#options.clock.now();
  }

  /** Streams the rows of a query. Nothing else runs on the connection until the stream is left. */
  async *streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    let rows: Iterator<unknown> | undefined;
    try {
      rows = this.#prepare(query.sql).statement.iterate(...query.parameters.map(toSqlite));
      for (let done = false; !done;) {
        const chunk: R[] = [];
        while (chunk.length < Math.max(1, chunkSize)) {
          const next = rows.next();
          if (next.done === true) {
            done = true;
            break;
          }
          chunk.push(next.value as R);
        }
        if (chunk.length > 0) yield { rows: chunk };
      }
    } catch (error) {
      throw storeFailure(error, this.#options.path);
    } finally {
      rows?.return?.();
    }
  }

  async #whenUnlocked<T>(run: () => T, since: number, signal?: AbortSignal): Promise<T> {
    const { clock, lockTimeoutMs, path } = this.#options;
    const giveUpAt = since + lockTimeoutMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      // The first statement of a transaction takes all locks it needs; one that is refused later
      // can only be cured by starting the transaction again.
      const mayRepeat = !this.inTransaction;
      try {
        return run();
      } catch (error) {
        if (!mayRepeat || !isLocked(error) || clock.now() >= giveUpAt) throw storeFailure(error, path);
      }
      await sleep(clock, pauseMs, signal);
    }
  }

  #run<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> {
    const { statement, reader } = this.#prepare(sql);
    const values = parameters.map(toSqlite);
    if (reader) return { rows: statement.all(...values) as R[] };
    const { changes, lastInsertRowid } = statement.run(...values);
    return { rows: [], numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid) };
  }

  /** Seldom: moving each statement to the end of the map when it is used would rebuild the map all the time. */
  #dropLongestUnused(): void {
    let oldest: { readonly sql: string; readonly lastUse: number } | undefined;
    for (const [sql, { lastUse }] of this.#prepared) {
      if (oldest === undefined || lastUse < oldest.lastUse) oldest = { sql, lastUse };
    }
    if (oldest !== undefined) this.#prepared.delete(oldest.sql);
  }

  #prepare(sql: string): Prepared {
    const known = this.#prepared.get(sql);
    this.#uses += 1;
    if (known !== undefined) {
      known.lastUse = this.#uses;
      return known;
    }
    const statement = this.#options.handle.prepare(sql);
    const prepared = {
      statement,
      reader: statement.reader ?? (statement.columns?.().length ?? 0) > 0,
      lastUse: this.#uses,
    };
    if (changesSchema.test(sql)) {
      this.#prepared.clear();
      return prepared;
    }
    if (this.#prepared.size >= limits.sqliteStatements) this.#dropLongestUnused();
    this.#prepared.set(sql, prepared);
    return prepared;
  }
}

/** Truth values are 0 and 1 in SQLite; Node 22 refuses to bind `true`. */
function toSqlite(value: unknown): SqliteValue {
  if (typeof value === 'boolean') return value ? 1 : 0;
  return value === undefined ? null : (value as SqliteValue);
}
