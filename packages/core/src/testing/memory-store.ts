import type { DatabaseSync } from 'node:sqlite';
import { sqliteFlavor } from '../store/flavor.ts';
import type { StoreProvider } from '../store/provider.ts';
import type { SqliteHandle, SqliteStatement } from '../store/sqlite-connection.ts';
import { sqliteDialect } from '../store/sqlite-dialect.ts';
import { openSqlite } from '../store/sqlite.ts';

/** A way into a {@link MemoryDatabase}, for one lab. */
export interface MemoryDatabaseAccess extends StoreProvider {
  /** Cuts it off as the death of its process does: what is not committed is lost. */
  cut(): void;
}

/** A SQLite database in memory that outlives the labs that use it, one at a time. */
export class MemoryDatabase {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  static async open(): Promise<MemoryDatabase> {
    return new MemoryDatabase((await openSqlite({ path: ':memory:' })).database);
  }

  access(): MemoryDatabaseAccess {
    const life = new AbortController();
    return {
      open: async () => ({
        dialect: sqliteDialect({ database: handle(this.#database, life.signal) }),
        flavor: sqliteFlavor,
        close: async () => undefined,
      }),
      cut: () => {
        life.abort(new Error('the process of this lab is dead'));
        if (this.#database.isTransaction) this.#database.exec('rollback');
      },
    };
  }
}

function handle(database: DatabaseSync, life: AbortSignal): SqliteHandle {
  return {
    prepare: (sql) => {
      life.throwIfAborted();
      return alive(database.prepare(sql), life);
    },
    close: () => undefined,
    get isTransaction(): boolean {
      return !life.aborted && database.isTransaction;
    },
  };
}

function alive(statement: SqliteStatement, life: AbortSignal): SqliteStatement {
  const ifAlive =
    <A extends unknown[], R>(act: (...args: A) => R) =>
    (...args: A): R => {
      life.throwIfAborted();
      return act(...args);
    };
  return {
    columns: () => statement.columns?.() ?? [],
    all: ifAlive((...parameters) => statement.all(...parameters)),
    run: ifAlive((...parameters) => statement.run(...parameters)),
    iterate: ifAlive((...parameters) => statement.iterate(...parameters)),
  };
}
