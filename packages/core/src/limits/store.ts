/** The database. */
export const storeLimits = {
  /** Records one page of a listing holds at most. */
  pageSize: 100,
  /** How long a statement waits for a lock that another process holds on the SQLite database. */
  sqliteLockTimeoutMs: 5_000,
  /** Transactions that share one commit; the event loop turns at the latest after as many. */
  storeGroupMembers: 64,
  /** Shapes of one query that stay compiled. */
  preparedShapes: 64,
  /** Pages of the SQLite database kept in memory. */
  sqliteCacheKb: 16_384,
  /** Pages of SQLite's log (4 KiB each) after which they are copied to the database: rarely, for pages that change often are copied once. */
  sqliteCheckpointPages: 4_000,
  /** SQL statements that stay prepared. */
  sqliteStatements: 256,
} as const;
