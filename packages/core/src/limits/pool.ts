/** Groups, policies and the waiting list. */
export const poolLimits = {
  /** A wish to use a group that nobody decides on is dropped after this. */
  approvalWantedMs: 86_400_000,
  /** How long an approval or a denial holds unless it says otherwise. */
  approvalMs: 86_400_000,
  /** What policies decided, and approvals that have expired, are kept this long. */
  policyDecisionKeepMs: 2_592_000_000,
  /** Decisions of policies that are kept, however young. */
  policyDecisionsKept: 100_000,
  /** Between two looks for decisions to forget. */
  policySweepMs: 3_600_000,
  /** Decisions that are forgotten in one transaction. */
  policySweepRows: 1_000,
  /** Lines that a machine may tell of itself, or of its compilers, interfaces or peripherals; more are not read. */
  probeLines: 4_096,
  /** Longest such line; the rest of it is not read. */
  probeLineChars: 4_096,
  /** Events, and failures, that a diagnosis tells. */
  diagnosisEntries: 20,
  /** A point of priority is worth having asked this much earlier. */
  waitingPriorityMs: 600_000,
  /** Priorities beyond this, up or down, count as this. */
  waitingMaxPriority: 1_000,
  /** A request that has waited this long has a resource held back for it that could fit it. */
  waitingHoldBackMs: 300_000,
  /** Shapes of waiting requests that are read at a time when a resource has got room. */
  waitingShapesPage: 64,
  /** Shapes of waiting requests that are looked at, at most, when a resource has got room. */
  waitingShapesPerOffer: 4_096,
} as const;
