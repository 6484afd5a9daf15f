/** Traces and metrics. */
export const telemetryLimits = {
  /** Series of one metric that a process counts; what comes after is counted together in one more. */
  metricSeries: 2_000,
  /** Longest value of a span's attribute; the rest is cut off. */
  spanAttributeChars: 256,
  /** Rows of one table that a gauge counts at most: of more it tells that many. */
  metricRows: 100_000,
  /** How long what the gauges read from the database is told again instead of read again. */
  metricGaugesMs: 5_000,
  /** The same for what all logs hold together: the one figure that costs more with every log kept. */
  metricLogSizeMs: 300_000,
} as const;
