import type { Reporter } from 'vitest/node';
import { requirementCoverage } from './requirements/reporter.ts';
import type { Suite } from './requirements/report.ts';

/**
 * What a run prints, what it must prove if it is one of the two suites, and the JSON report that `.ci/run` counts from when it
 * asks for one.
 */
export function reporters(suite?: Suite): ('default' | Reporter | ['json', { outputFile: string }])[] {
  const file = process.env['VITEST_REPORT'];
  return [
    'default',
    ...(suite === undefined ? [] : [requirementCoverage(suite)]),
    ...(file === undefined ? [] : [['json', { outputFile: file }] satisfies ['json', object]]),
  ];
}
