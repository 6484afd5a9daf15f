import type { StoreProvider } from './provider.ts';

/** Where a SQLite database lies. */
export interface SqliteOptions {
  /** Path of the database file; missing folders are made. Default: a database in memory. */
  readonly path?: string;
}

/**
 * Keeps the lab's records in SQLite, through Node's own `node:sqlite`. Several processes on one
 * machine may share one file, and hear of each other's commits through a file `-wake` beside it. Every
 * commit is durable (WAL, `synchronous=FULL`).
 */
export function sqlite(options: SqliteOptions = {}): StoreProvider {
  return {
    async open() {
      const { openSqlite } = await import('./sqlite.ts');
      const { sqliteFlavor } = await import('./flavor.ts');
      const { path } = options;
      const { database, dialect, close } = await openSqlite({ path: path ?? ':memory:' });
      if (path === undefined || path === ':memory:')
        return { dialect, flavor: sqliteFlavor, close: async () => close() };
      const { SqliteSignal } = await import('./sqlite-signal.ts');
      const signal = new SqliteSignal(path, database);
      return {
        dialect,
        flavor: sqliteFlavor,
        signal,
        close: async () => {
          signal[Symbol.dispose]();
          close();
        },
      };
    },
  };
}
