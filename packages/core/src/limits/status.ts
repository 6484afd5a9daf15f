/** Whether the lab itself is well. */
export const statusLimits = {
  /** What the status of a lab shows is asked of the database and of the artifact storage at most this often. */
  statusMs: 1_000,
  /** One answer of either of them. */
  statusAnswerMs: 5_000,
  /** A database that takes longer for a small read is slow. */
  statusStoreSlowMs: 1_000,
  /** Rows that the status of a lab counts of anything at most. */
  statusRows: 10_000,
  /** Deliveries of alerts, the newest ones, that it looks at. */
  statusDeliveries: 1_000,
  /** Leases of work that were renewed longer ago than this have missed a heartbeat. */
  statusLeaseAgeMs: 7_500,
  /** Work that is ready for this long and not started waits for somebody to do it. */
  statusQueuedMs: 600_000,
  /** Upkeep that is due for this long is done by nobody. */
  statusOverdueMs: 600_000,
  /** Events that listeners may be behind before that is worth a word. */
  statusEventLag: 10_000,
  /** An artifact storage with less room is nearly full. */
  statusFreeBytes: 10_737_418_240,
} as const;
