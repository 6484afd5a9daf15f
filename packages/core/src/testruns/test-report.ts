/**
 * How a test ended. `todo` and `xfail` are failures that are known of; `missing` was planned and never
 * reported.
 */
export type TestOutcome = 'pass' | 'fail' | 'skip' | 'todo' | 'xfail' | 'timeout' | 'error' | 'missing';

/** One test, or a group of tests. JSON-safe. */
export interface TestNode {
  readonly name: string;
  /** Its number within its group, where it has one. */
  readonly number?: number;
  /** As reported; for a group too, even when its tests say otherwise. */
  readonly outcome: TestOutcome;
  /** What was said about the outcome: why it was skipped, how long until the timeout. */
  readonly reason?: string;
  /** In seconds, where the test says so. */
  readonly durationSeconds?: number;
  /** What was printed about the test, at most `limits.testDiagnosticLines` lines. */
  readonly diagnostics: readonly string[];
  readonly children: readonly TestNode[];
}

/**
 * Tests by outcome. Groups don't count, except where a group went wrong though none of its tests did:
 * so nothing that failed is left out.
 */
export type TestTotals = { readonly [Outcome in TestOutcome | 'total']: number };

/** What a run printed, understood. JSON-safe. */
export interface TestReport {
  readonly tests: readonly TestNode[];
  readonly totals: TestTotals;
  /** Every planned result is there, nothing bailed out, and there was a plan. */
  readonly complete: boolean;
  /** What was wrong with the output itself, at most `limits.testParseErrors`. */
  readonly errors: readonly string[];
}

const bad: ReadonlySet<TestOutcome> = new Set(['fail', 'timeout', 'error', 'missing']);

/** Whether an outcome means that something is wrong. */
export function isBadOutcome(outcome: TestOutcome): boolean {
  return bad.has(outcome);
}

/** Whether the node or anything below it went wrong. */
export function hasBadOutcome(node: TestNode): boolean {
  return isBadOutcome(node.outcome) || node.children.some(hasBadOutcome);
}

/** The nodes that count: tests, and groups that went wrong on their own. Paths hold the names of the groups above. */
export function* countedTests(
  tests: readonly TestNode[],
  path: readonly string[] = [],
): Generator<{ readonly node: TestNode; readonly path: readonly string[] }> {
  for (const node of tests) {
    if (node.children.length === 0) {
      yield { node, path };
      continue;
    }
    if (isBadOutcome(node.outcome) && !node.children.some(hasBadOutcome)) yield { node, path };
    yield* countedTests(node.children, [...path, node.name]);
  }
}

/** Counts tests, see {@link TestTotals}. */
export function countTests(tests: readonly TestNode[]): TestTotals {
  const totals = { total: 0, pass: 0, fail: 0, skip: 0, todo: 0, xfail: 0, timeout: 0, error: 0, missing: 0 };
  for (const { node } of countedTests(tests)) {
    totals.total += 1;
    totals[node.outcome] += 1;
  }
  return totals;
}
