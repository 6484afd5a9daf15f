import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Clock } from '../contracts/runtime.ts';
import { sqliteFlavor } from '../store/flavor.ts';
import type { CommitSignal, StoreProvider } from '../store/provider.ts';
import type { SqliteHandle, SqliteStatement } from '../store/sqlite-connection.ts';
import { sqliteDialect } from '../store/sqlite-dialect.ts';
import { openSqlite } from '../store/sqlite.ts';

/** Options of {@link MemoryDatabase.access}. */
export interface MemoryAccessOptions {
  /** The process's, for waiting while another one has the write lock. Default: the machine's. */
  readonly clock?: Clock;
  /** Carries word of commits to the other processes. Default: none, they look now and then. */
  readonly signal?: CommitSignal;
  /**
   * Called before each statement, with whether it is part of an open transaction of this lab. What it throws is
   * what the database said, see {@link sqliteError}.
   */
  readonly onStatement?: (sql: string, inTransaction: boolean) => void;
}

/** A way into a {@link MemoryDatabase}, for one lab. */
export interface MemoryDatabaseAccess extends StoreProvider {
  /** Cuts it off as the death of its process does: what is not committed is lost. */
  cut(): void;
}

/** An error as SQLite says it, by its primary result code: 5 is SQLITE_BUSY, 13 is SQLITE_FULL. */
export function sqliteError(errcode: number, message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', errcode });
}

/** Statements that may change what `*` means. */
const changesSchema = /^\s*(?:create|alter|drop|attach|detach|vacuum)\b/i;

/**
 * A SQLite database in memory that outlives the labs that use it, any number of them at the same time.
 * They share one connection; a lab whose statement meets another one's open transaction is told that
 * the database is locked, as it would be on a file.
 */
export class MemoryDatabase {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #schemaVersion: unknown;
  /** Whose transaction is open. */
  #writer: object | undefined;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** Opens an empty database. The first lab that uses it makes its tables. */
  static async open(): Promise<MemoryDatabase> {
    return new MemoryDatabase((await openSqlite({ path: ':memory:' })).database);
  }

  /** The database itself, to look at and to prepare. Not to be used while a transaction is open. */
  get raw(): DatabaseSync {
    return this.#database;
  }

  /** A way in for one more lab, which lives until it is closed or cut off. */
  access(options: MemoryAccessOptions = {}): MemoryDatabaseAccess {
    const life = new AbortController();
    const me = {};
    const { clock, signal } = options;
    return {
      open: async () => ({
        dialect: sqliteDialect({
          database: this.#handle(me, life.signal, options),
          ...(clock !== undefined && { clock }),
        }),
        flavor: sqliteFlavor,
        ...(signal !== undefined && { signal }),
        close: async () => undefined,
      }),
      cut: () => {
        life.abort(new Error('the process of this lab is dead'));
        if (this.#writer === me && this.#database.isTransaction) this.#database.exec('rollback');
      },
    };
  }

  #handle(me: object, life: AbortSignal, { onStatement }: MemoryAccessOptions): SqliteHandle {
    const inTransaction = (): boolean => this.#writer === me && this.#database.isTransaction;
    const guarded =
      <A extends unknown[], R>(sql: string, act: (...args: A) => R) =>
      (...args: A): R => {
        life.throwIfAborted();
        onStatement?.(sql, inTransaction());
        // It may have been the last thing that the process did.
        life.throwIfAborted();
        if (this.#database.isTransaction && this.#writer !== me) throw sqliteError(5, 'database is locked');
        this.#writer = me;
        return act(...args);
      };
    return {
      prepare: (sql): SqliteStatement => {
        life.throwIfAborted();
        const statement = this.#prepare(sql);
        return {
          columns: () => statement.columns?.() ?? [],
          all: guarded(sql, (...parameters) => statement.all(...parameters)),
          run: guarded(sql, (...parameters) => statement.run(...parameters)),
          iterate: guarded(sql, (...parameters) => statement.iterate(...parameters)),
        };
      },
      close: () => undefined,
      get isTransaction(): boolean {
        return !life.aborted && inTransaction();
      },
    };
  }

  /** Each statement is prepared once, whoever uses it: a lab that opens costs little then. */
  #prepare(sql: string): StatementSync {
    if (changesSchema.test(sql)) return this.#database.prepare(sql);
    const version = this.#database.prepare('pragma schema_version').get()?.['schema_version'];
    if (version !== this.#schemaVersion) this.#statements.clear();
    this.#schemaVersion = version;
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#database.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}
