/** What is held, how long to wait for it, and what fits. */
export const selectionLimits = {
  /** A reservation nobody renews ends after this. */
  reservationMs: 15_000,
  /** A request that waits outside of a work item leaves the list after this. */
  waitingMs: 86_400_000,
  /** Requests from outside of work items that wait, and those that work items have; beyond that the former are refused. */
  waitingRequestsMax: 100_000,
  /** How long work that waits for capacity sleeps before it looks by itself, should nobody wake it. */
  waitingRecheckMs: 600_000,
  /** A holder of whom nothing is known is expected to end this long after it began. */
  expectedHoldMs: 3_600_000,
  /** A holder that is past its expected end is expected to end this much later. */
  expectedOverrunMs: 60_000,
  /** Resources and requests ahead that an estimate of a wait looks at. */
  waitEstimateResources: 64,
  waitEstimateRequests: 256,
  /** Candidates that selection scores for one request where strategies or what was learned have a say. */
  selectionScored: 32,
  /** Candidates that it takes at a time where the load alone decides, and the index has them in order: the best and its alternatives. */
  selectionLeastLoaded: 4,
  /** Candidates that selection looks at, at most, when policies or strategies refuse the first ones. */
  selectionMaxCandidates: 1_024,
} as const;
