import type { TestCommand } from '../model/test-run.ts';
import { parseTap } from './tap-parser.ts';
import { countTests, hasBadOutcome, type TestNode, type TestReport } from './test-report.ts';

/** How a command ended. */
export interface CommandEnd {
  readonly exitCode: number;
  readonly output: string;
}

/** What one test command came to. */
export interface CommandResult {
  readonly node: TestNode;
  readonly errors: readonly string[];
  readonly complete: boolean;
}

/** What one test command came to: its TAP results if it printed any, else its exit status. */
export function commandResult(
  command: TestCommand,
  run: CommandEnd & { readonly durationSeconds: number },
): CommandResult {
  const mode = command.results ?? 'auto';
  const parsed = mode === 'exit-status' ? undefined : parseTap(run.output);
  const isTap = parsed !== undefined && (mode === 'tap' || parsed.tests.length > 0);
  const children = isTap ? parsed.tests : [];
  const failed = run.exitCode !== 0 || (isTap && !parsed.complete);
  // kselftest programs exit with 4 for "skipped" (tools/testing/selftests/kselftest.h).
  const skipped = run.exitCode === 4 && !children.some(hasBadOutcome);
  const lines = run.output.split('\n').filter((line) => line !== '');
  return {
    node: {
      name: command.name,
      outcome: skipped ? 'skip' : failed || children.some(hasBadOutcome) ? 'fail' : 'pass',
      ...(run.exitCode !== 0 && { reason: `exit status ${run.exitCode}` }),
      durationSeconds: run.durationSeconds,
      diagnostics: isTap ? [] : lines.slice(-20),
      children,
    },
    errors: isTap ? parsed.errors.map((error) => `${command.name}: ${error}`) : [],
    complete: !isTap || parsed.complete,
  };
}

/** The results of several commands as one report. */
export function combineResults(results: readonly CommandResult[]): TestReport {
  const tests = results.map((result) => result.node);
  return {
    tests,
    totals: countTests(tests),
    complete: results.every((result) => result.complete),
    errors: results.flatMap((result) => result.errors),
  };
}
