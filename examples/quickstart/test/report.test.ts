import { parseTap } from '@bringup/core';
import { describe as suite, expect, test } from 'vitest';
import { suiteRows, tellError } from '../src/report.ts';
import { describe as describeInterrupted } from '../src/resume.ts';
import { Terminal } from '../src/terminal.ts';

suite('a row of the results', () => {
  const rowsOf = (ktap: string): unknown => parseTap(ktap).tests.flatMap(suiteRows);

  test('counts the tests of a suite that passed', () => {
    const ktap =
      'KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: heap\n    1..3\n    ok 1 a\n    ok 2 b\n    ok 3 c # SKIP no memory\nok 1 heap\n';
    expect(rowsOf(ktap)).toEqual([{ mark: 'pass', cells: ['heap', '2', '0', '1'] }]);
  });

  test('is followed by the tests that failed and by those that never reported', () => {
    const ktap =
      'KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: heap\n    1..3\n    ok 1 a\n    not ok 2 b\n';
    expect(rowsOf(ktap)).toEqual([
      { mark: 'fail', cells: ['heap', '1', '2', '0'] },
      { mark: 'fail', cells: ['  b'] },
      { mark: 'fail', cells: [expect.stringMatching(/^ {2}test 3 \(/)] },
    ]);
  });
});

test('a failed build shows what the compiler said', () => {
  let said = '';
  const terminal = new Terminal({ write: (text: string) => (said += text) }, {});
  tellError(
    {
      code: 'build-failed',
      message: 'the build failed',
      retryable: false,
      details: { stage: 'build', errorLines: ['main.c:1:5: error: no'] },
    },
    terminal,
  );
  expect(said).toBe('\n  ✘ the build failed\n  build   │ main.c:1:5: error: no\n');
});

test('an interrupted pipeline is told with its stage and how long ago it was seen', () => {
  expect(describeInterrupted({ id: 'p1', currentStage: 'build' }, 1_000, 13_000)).toBe(
    'Found pipeline p1, interrupted in stage build 12.0 s ago',
  );
  expect(describeInterrupted({ id: 'p1' }, undefined, 13_000)).toBe(
    'Found pipeline p1, interrupted before its first stage',
  );
});

test('an error that quotes a machine says nothing to the terminal or the CI runner', () => {
  let said = '';
  const terminal = new Terminal({ write: (text) => void (said += text) }, {});
  const message = 'make failed: \u001b[2J##vso[task.complete]\n::error::x';
  tellError({ code: 'build-failed', message, retryable: false, details: {} }, terminal);
  // oxlint-disable-next-line no-control-regex -- these must not be there
  expect(said).not.toMatch(/\u001b|##vso\[|^\s*::/m);
});
