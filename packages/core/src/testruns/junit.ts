import { limits } from '../limits.ts';
import { escapeXml } from '../xml.ts';
import { countedTests, type TestNode, type TestReport } from './test-report.ts';

/** How a report becomes JUnit XML. */
export interface JUnitOptions {
  /** Name of the whole run, and the suite of tests that are in no group. Default `tests`. */
  readonly name?: string;
  /** When the run started; becomes `timestamp`. */
  readonly startedAt?: Date;
}

type Verdict = 'failure' | 'error' | 'skipped' | undefined;

const verdicts: { readonly [Outcome in TestNode['outcome']]: Verdict } = {
  pass: undefined,
  fail: 'failure',
  skip: 'skipped',
  todo: 'skipped',
  xfail: 'skipped',
  timeout: 'error',
  error: 'error',
  missing: 'error',
};

/**
 * The report as JUnit XML, in the form that Jenkins and GitLab read: one `testsuite` a group, groups
 * within groups as suites of their own named `outer.inner`, and one `testcase` a test. Known failures
 * (`todo`, `xfail`) are skipped there, and what timed out or never reported is an error. A group that
 * failed though its tests did not is a test case of its own. Diagnostics are given for what went wrong.
 */
export function toJUnitXml(report: TestReport, options: JUnitOptions = {}): string {
  const runName = options.name ?? 'tests';
  const suites = new Map<string, TestNode[]>();
  for (const { node, path } of countedTests(report.tests)) {
    const suite = path.length === 0 ? runName : path.join('.');
    const cases = suites.get(suite);
    if (cases === undefined) suites.set(suite, [node]);
    else cases.push(node);
  }
  const all = [...suites.values()].flat();
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites name="${escapeXml(runName)}"${counts(all)}>`,
    ...[...suites].flatMap(([name, cases]) => suiteLines(name, cases, options.startedAt)),
    '</testsuites>',
    '',
  ];
  return lines.join('\n');
}

function suiteLines(name: string, cases: readonly TestNode[], startedAt: Date | undefined): string[] {
  const timestamp = startedAt === undefined ? '' : ` timestamp="${startedAt.toISOString()}"`;
  return [
    `  <testsuite name="${escapeXml(name)}"${counts(cases)}${timestamp}>`,
    ...cases.map((test) => caseLine(name, test)),
    '  </testsuite>',
  ];
}

function caseLine(suite: string, test: TestNode): string {
  const time = test.durationSeconds === undefined ? '' : ` time="${formatSeconds(test.durationSeconds)}"`;
  const open = `    <testcase name="${escapeXml(test.name)}" classname="${escapeXml(suite)}"${time}`;
  const verdict = verdicts[test.outcome];
  if (verdict === undefined) return `${open}/>`;
  const message = escapeXml(
    [test.outcome === 'skip' || test.outcome === 'fail' ? '' : test.outcome, test.reason ?? '']
      .filter((part) => part !== '')
      .join(': '),
  );
  if (verdict === 'skipped') return `${open}><skipped message="${message}"/></testcase>`;
  const text = escapeXml(test.diagnostics.slice(-limits.testDiagnosticLines).join('\n'));
  return `${open}><${verdict} type="${test.outcome}" message="${message}">${text}</${verdict}></testcase>`;
}

function counts(cases: readonly TestNode[]): string {
  const count = (verdict: Verdict): number => cases.filter((test) => verdicts[test.outcome] === verdict).length;
  const time = cases.reduce((sum, test) => sum + (test.durationSeconds ?? 0), 0);
  return ` tests="${cases.length}" failures="${count('failure')}" errors="${count('error')}" skipped="${count('skipped')}" time="${formatSeconds(time)}"`;
}

/** Never in exponent form, which readers of the format do not take. */
function formatSeconds(seconds: number): string {
  return Number.isFinite(seconds) ? seconds.toFixed(6).replace(/\.?0+$/, '') : '0';
}
