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
  /** Pages of SQLite's log (1 KiB each) after which they are copied to the database: rarely, for pages that change often are copied once. */
  sqliteCheckpointPages: 4_000,
  /** One attempt to connect to PostgreSQL. */
  postgresConnectTimeoutMs: 10_000,
  /** How long a statement waits for PostgreSQL to be back, or for a lock that another process holds there. */
  postgresPatienceMs: 30_000,
  /** A statement without an answer from PostgreSQL for this long has lost its connection. */
  postgresAnswerMs: 45_000,
  /** A transaction of PostgreSQL in which nothing is asked for this long has lost its process: PostgreSQL ends it. */
  postgresIdleMs: 5_000,
  /** Connections of one process for reading, besides the one for transactions and the one that listens. */
  postgresReaders: 4,
  /** SQL statements of one connection to PostgreSQL that stay prepared. */
  postgresStatements: 256,
  /** SQL statements of SQLite that stay prepared. */
  sqliteStatements: 256,
} as const;
