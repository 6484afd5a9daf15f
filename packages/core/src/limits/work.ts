/** Durable work, its leases and its logs. */
export const workLimits = {
  /** How long a claim on a work item lasts without a heartbeat. */
  leaseMs: 15_000,
  /** Between two heartbeats: three chances within a lease. */
  heartbeatMs: 5_000,
  /** A lease that ends this much later than one that is written now was written by another clock. */
  clockMarginMs: 5_000,
  /** How often a process looks for work that another process queued. */
  workPollMs: 500,
  /** Work items one process runs at the same time; waiting parents don't count. */
  workConcurrency: 32,
  /** Unfinished work items of a lab; what is submitted beyond that is refused. What they start themselves is not counted against it. */
  workUnfinishedMax: 100_000,
  /** Attempts of a work item whose process died, before it is given up. */
  workMaxTakeovers: 25,
  /** Putting back in order what a failed or cancelled work item left behind. */
  workCleanUpMs: 60_000,
  /** One piece of a stored log. */
  logChunkBytes: 65_536,
  /** A log piece is stored at the latest this long after its first byte came in. */
  logFlushMs: 50,
  /** One log; what comes after is dropped and said so at its end. */
  logMaxBytes: 1_073_741_824,
  /** One poll of a detached command waits this long on the target for news. */
  detachedPollMs: 5_000,
  /** Reconnects in a row without a byte of progress before a target is given up. */
  reconnectAttempts: 5,
  /** Tries to get what somebody else holds, such as a console: a process that stands still holds it longer than its lease. */
  heldAttempts: 20,
  /** First pause before a reconnect; doubles each time, up to that before the last of `reconnectAttempts`. */
  reconnectBackoffMs: 500,
} as const;
