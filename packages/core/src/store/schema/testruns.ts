/** Tests on targets. */
export interface TestRunTables {
  test_runs: TestRunRow;
}

/** What a test run adds to its work item. */
export interface TestRunRow {
  id: string;
  deployment_id: string;
  results: string | null;
}
