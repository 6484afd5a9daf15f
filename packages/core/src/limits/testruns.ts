/** Test runs. */
export const testRunLimits = {
  /** All tests of one run. */
  testTimeoutMs: 3_600_000,
  /** Quiet on the console after the last planned result, before a test run counts as over. */
  testQuietMs: 2_000,
  /** Commands of one test run. */
  maxTestCommands: 1_000,
  /** Test results of one run. */
  maxTestResults: 100_000,
  /** Depth of nested subtests. */
  maxTestDepth: 16,
  /** Diagnostic lines kept of one test; the last ones. */
  testDiagnosticLines: 200,
  /** Complaints about malformed test output kept of one run. */
  testParseErrors: 100,
} as const;
