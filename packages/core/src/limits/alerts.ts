/** Alerts and their delivery. */
export const alertLimits = {
  /** Trouble that comes back within this time after it was over is the same alert. */
  alertFlapMs: 600_000,
  /** From this many returns on, notifiers are told of an alert only once it has settled. */
  alertFlapsTold: 2,
  /** How long an alert that comes and goes is left alone before notifiers are told what it has come to. */
  alertSettleMs: 300_000,
  /** Alerts are kept this long after they were resolved. */
  alertKeepMs: 2_592_000_000,
  /** Resolved alerts that are kept. */
  alertsKept: 10_000,
  /** Between two looks for alerts to forget. */
  alertSweepMs: 3_600_000,
  /** What a person writes about an alert. */
  alertTextChars: 4_000,
  /** One try to tell a notifier. */
  deliveryTimeoutMs: 15_000,
  /** Tries to tell a notifier; with the pauses they span some six hours. */
  deliveryAttempts: 16,
  /** First pause before another try; doubles each time. */
  deliveryBackoffMs: 5_000,
  /** Longest such pause, whatever the receiver wishes. */
  deliveryBackoffMaxMs: 3_600_000,
  /** Redirects of a webhook that are followed. */
  webhookRedirects: 3,
} as const;
