import type FastCheck from 'fast-check';
import {
  countTests,
  hasBadOutcome,
  type TestNode,
  type TestOutcome,
  type TestReport,
} from '../testruns/test-report.ts';

/** A test before it has its number. */
interface Sketch {
  readonly name: string;
  readonly outcome: TestOutcome;
  readonly reason: string | null;
  readonly diagnostics: readonly string[];
  readonly children: readonly Sketch[];
}

/** Results as a well-formed run would give them, up to four groups deep. */
export function testReportArbitrary(fc: typeof FastCheck): FastCheck.Arbitrary<TestReport> {
  const word = fc.stringMatching(/^[a-zA-Z0-9_.:,#\\[\]()=-]{1,10}$/).filter((text) => !/^-+$|^#/.test(text));
  const name = fc.array(word, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(' '));
  // A reason that begins like a directive would be read as one.
  const reason = fc.option(
    fc
      .stringMatching(/^[a-z][a-z ]{0,20}[a-z]$/)
      .filter((text) => !/^(skip|todo|xfail|xpass|timeout|error)/.test(text)),
  );
  const passes = ['pass', 'pass', 'pass'] as const;
  const outcome = fc.constantFrom(...passes, 'fail', 'skip', 'todo', 'xfail', 'timeout', 'error', 'missing');
  // Behind "# ", a result of a test that runs inside of another looks the same.
  const diagnostic = fc
    .stringMatching(/^[a-zA-Z][a-zA-Z0-9 .:]{0,20}[a-z]$/)
    .filter((text) => !/^(?:not )?ok\b/.test(text));
  const diagnostics = fc.array(diagnostic, { maxLength: 2 });
  const { group } = fc.letrec<{ group: Sketch[]; test: Sketch; leaf: Sketch }>((tie) => ({
    group: fc.array(fc.oneof({ depthSize: 'small', maxDepth: 4 }, tie('leaf'), tie('test')), {
      minLength: 1,
      maxLength: 4,
    }),
    leaf: fc.record({ name, outcome, reason, diagnostics, children: fc.constant([]) }),
    test: fc.record({ name, outcome: fc.constant('pass'), reason, diagnostics, children: tie('group') }),
  }));
  return group.map((sketches) => {
    const tests = asTests(sketches);
    return { tests, totals: countTests(tests), complete: isWhole(tests), errors: [] };
  });
}

/** The tests as a report holds them: numbered, groups as good as their tests, missing ones unnamed. */
function asTests(group: readonly Sketch[]): TestNode[] {
  return group.map((sketch, index) => {
    const number = index + 1;
    if (sketch.outcome === 'missing')
      return { name: `test ${number}`, number, outcome: 'missing', diagnostics: [], children: [] };
    const children = asTests(sketch.children);
    return {
      name: sketch.name,
      number,
      outcome: children.some(hasBadOutcome) ? 'fail' : sketch.outcome,
      diagnostics: sketch.diagnostics,
      children,
      ...(sketch.reason === null ? {} : { reason: sketch.reason }),
    };
  });
}

function isWhole(tests: readonly TestNode[]): boolean {
  return tests.every((test) => test.outcome !== 'missing' && isWhole(test.children));
}
