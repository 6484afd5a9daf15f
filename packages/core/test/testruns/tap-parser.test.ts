import { describe, expect, it } from 'vitest';
import { parseTap, TapParser } from '../../src/testruns/tap-parser.ts';
import type { TestNode } from '../../src/testruns/test-report.ts';

/** `1 name outcome (reason)`, groups with their tests in brackets. */
function outline(tests: readonly TestNode[]): string[] {
  return tests.map((test) => {
    const children = test.children.length === 0 ? '' : ` [${outline(test.children).join('; ')}]`;
    return `${test.number} ${test.name} ${test.outcome}${test.reason === undefined ? '' : ` (${test.reason})`}${children}`;
  });
}

const read = (...lines: readonly string[]): ReturnType<typeof parseTap> => parseTap(`${lines.join('\n')}\n`);

describe('result lines', () => {
  it.each([
    ['ok 1 plain', '1 plain pass'],
    ['not ok 1 plain', '1 plain fail'],
    ['ok 1 - with a dash', '1 with a dash pass'],
    ['ok 1', '1 test 1 pass'],
    ['ok 1 skipped # SKIP no such device', '1 skipped skip (no such device)'],
    ['not ok 1 skipped # SKIP', '1 skipped skip'],
    ['ok 1 # SKIP needs root', '1 needs root skip (needs root)'],
    ['not ok 1 known # TODO later', '1 known todo (later)'],
    ['not ok 1 known # XFAIL broken hardware', '1 known xfail (broken hardware)'],
    ['not ok 1 slow # TIMEOUT 45 seconds', '1 slow timeout (45 seconds)'],
    ['not ok 1 broken # ERROR no memory', '1 broken error (no memory)'],
    ['not ok 1 selftests: net: x.sh # exit=1', '1 selftests: net: x.sh fail (exit=1)'],
    ['ok 1 return code # rcode=0', '1 return code pass (rcode=0)'],
    ['ok 1 issue #12 is fixed', '1 issue #12 is fixed pass'],
    ['ok 1 a \\# SKIP b', '1 a # SKIP b pass'],
    ['ok 1 skips # skipping is tested', '1 skips pass (skipping is tested)'],
  ])('%s', (line, expected) => {
    expect(outline(read('TAP version 13', '1..1', line).tests)).toEqual([expected]);
  });

  it('never turn into a failure for a directive that contradicts them, but say so', () => {
    const report = read('KTAP version 1', '1..1', 'ok 1 odd # TIMEOUT 3 seconds');
    expect(report).toMatchObject({
      tests: [{ outcome: 'pass' }],
      errors: ['"odd" is ok and TIMEOUT at once; it counts as ok'],
    });
  });

  it('are told from text that merely looks like them', () => {
    const report = read(
      'KTAP version 1',
      '1..2',
      'ok 1 a',
      'ok, that went well',
      '# ok 3 times retried',
      'ok - no number',
      '    ok 7 stray',
      'okay 2',
      'ok 2 b',
    );
    expect(outline(report.tests)).toEqual(['1 a pass', '2 b pass']);
    expect(report.complete).toBe(true);
  });

  it('may tell how long the test took', () => {
    const report = read(
      'TAP version 14',
      '1..3',
      'ok 1 a # time=12ms',
      'ok 2 b',
      '  ---',
      '  duration_ms: 1500.5',
      '  ...',
      'ok 3 c',
    );
    expect(report.tests.map((test) => test.durationSeconds)).toEqual([0.012, 1.5005, undefined]);
  });
});

describe('nested tests', () => {
  it('are read as the KTAP document nests them', () => {
    const report = read(
      'KTAP version 1',
      '1..1',
      '  KTAP version 1',
      '  1..3',
      '    KTAP version 1',
      '    1..1',
      '    # test_1: initializing test_1',
      '    ok 1 test_1',
      '  ok 1 example_test_1',
      '    KTAP version 1',
      '    1..2',
      '    ok 1 test_1 # SKIP test_1 skipped',
      '    ok 2 test_2',
      '  ok 2 example_test_2',
      '  not ok 3 example_test_3',
      'not ok 1 main_test',
    );
    expect(outline(report.tests)).toEqual([
      '1 main_test fail [1 example_test_1 pass [1 test_1 pass]; 2 example_test_2 pass [1 test_1 skip (test_1 skipped); 2 test_2 pass]; 3 example_test_3 fail]',
    ]);
    expect(report.tests[0]?.children[0]?.children[0]?.diagnostics).toEqual(['test_1: initializing test_1']);
    expect(report).toMatchObject({ complete: true, errors: [], totals: { total: 4, pass: 2, skip: 1, fail: 1 } });
  });

  it('are read as KUnit prints them, parameters without a plan included', () => {
    const report = read(
      '[    0.100000] KTAP version 1',
      '[    0.100000] 1..1',
      '[    0.100000]     KTAP version 1',
      '[    0.100000]     # Subtest: example',
      '[    0.100000]     # module: kunit_example_test',
      '[    0.100000]     1..2',
      '[    0.100000]     # example_simple_test: initializing',
      '[    0.110000]     ok 1 example_simple_test',
      '[    0.120000]         KTAP version 1',
      '[    0.120000]         # Subtest: example_params_test',
      '[    0.120000]     # example_params_test: initializing',
      '[    0.130000]         ok 1 example value 3 # SKIP unsupported param value 3',
      '[    0.140000]         ok 2 example value 2',
      '[    0.150000]     # example_params_test: pass:1 fail:0 skip:1 total:2',
      '[    0.150000]     ok 2 example_params_test',
      '[    0.160000] # example: pass:2 fail:0 skip:0 total:2',
      '[    0.160000] # Totals: pass:2 fail:0 skip:1 total:3',
      '[    0.160000] ok 1 example',
    );
    expect(outline(report.tests)).toEqual([
      '1 example pass [1 example_simple_test pass; 2 example_params_test pass [1 example value 3 skip (unsupported param value 3); 2 example value 2 pass]]',
    ]);
    expect(report).toMatchObject({ complete: true, errors: [] });
  });

  it('are read as kselftest prints them', () => {
    const report = read(
      'TAP version 13',
      '1..2',
      '# timeout set to 45',
      '# selftests: membarrier: single',
      '# TAP version 13',
      '# 1..2',
      '# ok 1 sys_membarrier available',
      '# not ok 2 invalid command',
      '# # Totals: pass:1 fail:1',
      'not ok 1 selftests: membarrier: single # exit=1',
      '# selftests: membarrier: multi',
      'ok 2 selftests: membarrier: multi # SKIP',
    );
    expect(outline(report.tests)).toEqual([
      '1 selftests: membarrier: single fail (exit=1) [1 sys_membarrier available pass; 2 invalid command fail]',
      '2 selftests: membarrier: multi skip',
    ]);
    expect(report).toMatchObject({ complete: true, errors: [] });
  });

  it('are read as TAP 14 prints them, with YAML blocks that look like results inside', () => {
    const report = read(
      'TAP version 14',
      'pragma +strict',
      '1..2',
      '# Subtest: group',
      '    ok 1 - a',
      '    not ok 2 - b',
      '      ---',
      '      message: |',
      '        ok 3 - not a result',
      '      ...',
      '    1..2',
      'not ok 1 - group',
      'ok 2 - last',
    );
    expect(outline(report.tests)).toEqual(['1 group fail [1 a pass; 2 b fail]', '2 last pass']);
    expect(report.tests[0]?.children[1]?.diagnostics).toEqual(['message: |', 'ok 3 - not a result']);
    expect(report.complete).toBe(true);
  });

  it('keep what a group says of itself, and say when its tests say otherwise', () => {
    const report = read('KTAP version 1', '1..1', '  KTAP version 1', '  1..1', '  not ok 1 a', 'ok 1 group');
    expect(report).toMatchObject({
      tests: [{ outcome: 'pass' }],
      totals: { total: 1, fail: 1 },
      errors: ['"group" says ok, but not all of its tests do'],
    });
  });

  it('count a group that failed though none of its tests did', () => {
    const report = read(
      'KTAP version 1',
      '1..1',
      '  KTAP version 1',
      '  1..1',
      '  ok 1 a',
      'not ok 1 group # exit=139',
    );
    expect(report).toMatchObject({ totals: { total: 2, pass: 1, fail: 1 }, errors: [] });
  });

  it('are bounded in depth', () => {
    const deep = Array.from({ length: 40 }, (_, level) => `${'  '.repeat(level)}KTAP version 1`);
    expect(read(...deep)).toMatchObject({
      complete: false,
      errors: expect.arrayContaining([expect.stringContaining('nested deeper')]),
    });
  });
});

describe('results that are not what was planned', () => {
  it('are named when they are missing', () => {
    const report = read(
      'KTAP version 1',
      '1..9',
      'ok 1 a',
      'ok 3 c',
      'ok 4 d',
      '[    9.000000] Kernel panic - not syncing: x',
    );
    expect(report.errors).toEqual(['results 2, 5-9 of 1..9 are missing']);
    expect(report.complete).toBe(false);
    expect(outline(report.tests).slice(0, 3)).toEqual(['1 a pass', '2 test 2 missing', '3 c pass']);
    expect(report.tests[1]?.diagnostics).toEqual(['[    9.000000] Kernel panic - not syncing: x']);
  });

  it('are missing in a group too, and so is the result of a group that never ended', () => {
    const report = read('KTAP version 1', '1..2', '  KTAP version 1', '  # Subtest: first', '  1..3', '  ok 1 a');
    expect(outline(report.tests)).toEqual([
      '1 first missing [1 a pass; 2 test 2 missing; 3 test 3 missing]',
      '2 test 2 missing',
    ]);
    expect(report.complete).toBe(false);
  });

  it('keep a group with its own lost result apart from the next one', () => {
    const report = read(
      'KTAP version 1',
      '1..2',
      '  KTAP version 1',
      '  # Subtest: first',
      '  1..1',
      '  ok 1 a',
      '  KTAP version 1',
      '  # Subtest: second',
      '  1..1',
      '  ok 1 b',
      'ok 2 second',
    );
    expect(outline(report.tests)).toEqual(['1 first missing [1 a pass]', '2 second pass [1 b pass]']);
  });

  it('are not owed by a group that was skipped', () => {
    expect(read('KTAP version 1', '1..1', '  KTAP version 1', '  1..5', '  ok 1 a', 'ok 1 group # SKIP')).toMatchObject(
      { complete: true, errors: [] },
    );
  });

  it('stay failed when they are reported again as passed', () => {
    const report = read('KTAP version 1', '1..1', 'not ok 1 a', 'ok 1 a');
    expect(report).toMatchObject({
      tests: [{ outcome: 'fail' }],
      errors: ['result 1 of the tests was reported twice, as "a" and "a"'],
    });
    expect(read('KTAP version 1', '1..1', 'ok 1 a', 'not ok 1 a').tests).toMatchObject([{ outcome: 'fail' }]);
  });

  it('are kept beyond the plan, and said to be', () => {
    const report = read('KTAP version 1', '1..1', 'ok 1 a', 'not ok 2 b');
    expect(report.errors).toEqual(['result 2 "b" of the tests is beyond its plan 1..1']);
    expect(report.totals).toMatchObject({ pass: 1, fail: 1 });
  });

  it('end with a bail-out', () => {
    const report = read('TAP version 13', '1..3', 'ok 1 a', 'Bail out! no network', 'ok 2 b');
    expect(report).toMatchObject({
      complete: false,
      totals: { pass: 1, missing: 2 },
      errors: expect.arrayContaining(['the tests bailed out: no network']),
    });
  });

  it('are incomplete without a plan, unless none is asked for', () => {
    expect(parseTap('TAP version 13\nok 1 a\n').complete).toBe(false);
    expect(parseTap('TAP version 13\nok 1 a\n', { requirePlan: false })).toMatchObject({ complete: true, errors: [] });
    expect(parseTap('TAP version 13\nok 1 a\n1..1\n').complete).toBe(true);
  });

  it('are bounded in number, whatever the plan promises', () => {
    const report = parseTap('KTAP version 1\n1..999999999\nok 1 a\nok 2 b\n', { maxResults: 10 });
    expect(report.totals).toMatchObject({ total: 10, pass: 2, missing: 8 });
    expect(report.errors).toEqual(['results 3-999999999 of 1..999999999 are missing']);
  });

  it('are none at all when nothing was tested', () => {
    expect(parseTap('Linux version 6.1\nlogin: ')).toMatchObject({
      tests: [],
      complete: false,
      errors: [expect.stringContaining('no test output')],
    });
    expect(read('TAP version 13', '1..0 # SKIP no such bus')).toMatchObject({
      complete: true,
      errors: ['no test was planned: no such bus'],
    });
  });
});

describe('test output on a console', () => {
  it('is found behind a boot log, a prompt and colours, with CRLF', () => {
    const report = parseTap(
      '[    0.000000] Linux version 6.1\r\n~ # ./test\r\n~ # \x1b[1mTAP version 13\x1b[0m\r\n1..1\r\n\x1b[32mok 1 a\x1b[0m\r\n~ # ',
    );
    expect(report).toMatchObject({ tests: [{ name: 'a', outcome: 'pass' }], complete: true, errors: [] });
  });

  it.each([
    ['before', 'ok 1 a\n[    2.123456] random: crng init done\nnot ok 2 st_name\n'],
    ['inside the verdict of', 'ok 1 a\nnot [    2.123456] random: crng init done\nok 2 st_name\n'],
    ['inside the number of', 'ok 1 a\nnot ok [    2.123456] random: crng init done\n2 st_name\n'],
    ['inside the name of', 'ok 1 a\nnot ok 2 st[    2.123456] random: crng init done\n_name\n'],
    ['inside the line end of', 'ok 1 a\r\nnot ok 2 st_name\r[    2.123456] random: crng init done\r\n\n'],
    ['right after', 'ok 1 a\nnot ok 2 st_name[    2.123456] random: crng init done\n\n'],
  ])('keeps its outcomes with a kernel message %s a result', (_where, text) => {
    const report = parseTap(`TAP version 13\n1..2\n${text}`);
    expect(outline(report.tests)).toEqual(['1 a pass', '2 st_name fail']);
    expect(report).toMatchObject({ complete: true, errors: [] });
  });

  it('never reads "not" and "ok" apart, even where another test would be next', () => {
    const report = read(
      'KTAP version 1',
      '1..2',
      'ok 1 a',
      '    KTAP version 1',
      '    1..2',
      '    not [    2.123456] random: crng init done',
      'ok 2 lost its neighbour',
      'not ok 2 b',
    );
    expect(outline(report.tests)).toEqual(['1 a pass', '2 b fail [1 test 1 missing; 2 lost its neighbour fail]']);
  });

  it('is not confused by a test that shows a piece of dmesg', () => {
    const report = read(
      'TAP version 13',
      '1..3',
      'ok 1 a',
      '# [   12.345678] usb 1-1: reset',
      '# [   12.345679] usb 1-1: again',
      'ok 2 b [    1.000000] c',
      'ok 3 d',
    );
    expect(outline(report.tests)).toEqual(['1 a pass', '2 b pass', '3 d pass']);
  });

  it('is read from the kernel and from programs apart', () => {
    const report = read(
      'TAP version 13',
      '1..2',
      'ok 1 a',
      '[    1.000000] KTAP version 1',
      '[    1.000000] 1..1',
      'not ok 2 b',
      '[    1.000000] ok 1 kunit',
    );
    expect(outline(report.tests)).toEqual(['1 a pass', '2 b fail', '1 kunit pass']);
    expect(report.complete).toBe(true);
  });

  it('may hold several documents, of which each must be complete', () => {
    const report = read('TAP version 13', '1..1', 'ok 1 a', 'TAP version 13', '1..2', 'ok 1 b');
    expect(outline(report.tests)).toEqual(['1 a pass', '1 b pass', '2 test 2 missing']);
    expect(report.complete).toBe(false);
  });

  it('tells each result as it comes, and when all have come', () => {
    const seen: string[] = [];
    const parser = new TapParser({ onResult: (test, path) => seen.push([...path, test.name].join('/')) });
    parser.feed('KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: group\n  1..1\n  ok 1 a\n');
    expect(seen).toEqual(['group/a']);
    expect(parser.settled).toBe(false);
    parser.feed('ok 1 group\n');
    expect(seen).toEqual(['group/a', 'group']);
    expect(parser.settled).toBe(true);
  });
});
