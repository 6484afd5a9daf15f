import fc from 'fast-check';
import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { describe, expect, it } from 'vitest';
import { toJUnitXml } from '../../src/testruns/junit.ts';
import { parseTap } from '../../src/testruns/tap-parser.ts';
import { countTests, type TestNode, type TestOutcome, type TestReport } from '../../src/testruns/test-report.ts';

const reader = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseAttributeValue: false,
  trimValues: false,
  isArray: (name) => name === 'testsuite' || name === 'testcase',
});
const report = (tests: readonly TestNode[]): TestReport => ({
  tests,
  totals: countTests(tests),
  complete: true,
  errors: [],
});

describe('JUnit XML', () => {
  const xml = toJUnitXml(
    parseTap(
      [
        'KTAP version 1',
        '1..4',
        '  KTAP version 1',
        '  1..3',
        '  ok 1 a',
        '  # expected 1 < 2',
        '  not ok 2 b # exit=1',
        '  ok 3 c # SKIP no bus',
        'not ok 1 group',
        'ok 2 alone # time=1500ms',
        'not ok 3 slow # TIMEOUT 45 seconds',
        '',
      ].join('\n'),
    ),
    { name: 'board', startedAt: new Date(Date.UTC(2026, 0, 1)) },
  );
  const suites = reader.parse(xml).testsuites;

  it('has a suite for each group, and counts that add up', () => {
    expect(suites).toMatchObject({ name: 'board', tests: '6', failures: '1', errors: '2', skipped: '1' });
    expect(suites.testsuite).toMatchObject([
      { name: 'group', tests: '3', failures: '1', errors: '0', skipped: '1', timestamp: '2026-01-01T00:00:00.000Z' },
      { name: 'board', tests: '3', failures: '0', errors: '2', skipped: '0', time: '1.5' },
    ]);
  });

  it('has a case for each test, with what its outcome was and why', () => {
    expect(suites.testsuite[0].testcase).toMatchObject([
      { name: 'a', classname: 'group' },
      { name: 'b', failure: { type: 'fail', message: 'exit=1', '#text': 'expected 1 < 2' } },
      { name: 'c', skipped: { message: 'no bus' } },
    ]);
    expect(suites.testsuite[1].testcase).toMatchObject([
      { name: 'alone', time: '1.5' },
      { name: 'slow', error: { type: 'timeout', message: 'timeout: 45 seconds' } },
      { name: 'test 4', error: { type: 'missing', message: 'missing' } },
    ]);
  });

  const outcome = fc.constantFrom<TestOutcome>('pass', 'fail', 'skip', 'todo', 'xfail', 'timeout', 'error', 'missing');
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(']]>', '<!--', '\0', '\ud800', '\uffff', '&amp;', '\r\n', '\x1b[1m'),
  );

  it('is well-formed and says every name as it was, whatever devices print', () => {
    const test = fc.record({
      name: text,
      outcome,
      reason: text,
      durationSeconds: fc.double({ min: 0, max: 1e9, noNaN: true }),
      diagnostics: fc.array(text),
      children: fc.constant([]),
    });
    fc.assert(
      fc.property(fc.array(test, { maxLength: 5 }), text, (tests, name) => {
        const written = toJUnitXml(report(tests), { name });
        expect(XMLValidator.validate(written)).toBe(true);
        // oxlint-disable-next-line no-control-regex -- what XML 1.0 cannot hold
        expect(written).not.toMatch(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/);
        expect(written.isWellFormed()).toBe(true);
        expect(written.match(/<testcase /g)?.length ?? 0).toBe(tests.length);
      }),
      { numRuns: 500 },
    );
  });
});
