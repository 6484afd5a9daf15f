import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseTap, TapParser } from '../../src/testruns/tap-parser.ts';
import type { TestNode, TestOutcome } from '../../src/testruns/test-report.ts';
import { labArbitraries } from '../../src/testing/arbitraries.ts';
import { cutInKernelMessages, renderTap, type RenderTapOptions } from '../../src/testing/tap-render.ts';

const runs = { numRuns: 500 };

const tests = labArbitraries(fc).testReport.map((report) => report.tests);
const styles = fc.constantFrom('ktap', 'kunit', 'kselftest', 'tap14') satisfies fc.Arbitrary<RenderTapOptions['style']>;
const lineEnds = fc.constantFrom('\n', '\r\n') satisfies fc.Arbitrary<RenderTapOptions['lineEnd']>;

type Shape = { readonly name: string; readonly outcome: TestOutcome; readonly children: readonly Shape[] };
const shape = (nodes: readonly TestNode[]): Shape[] =>
  nodes.map(({ name, outcome: verdict, children }) => ({ name, outcome: verdict, children: shape(children) }));
const isWhole = (nodes: readonly TestNode[]): boolean =>
  nodes.every((node) => node.outcome !== 'missing' && isWhole(node.children));

describe('test output that was written from a tree', () => {
  it('is read back as that tree, in every style, from the kernel and from programs', () => {
    fc.assert(
      fc.property(tests, styles, lineEnds, fc.boolean(), (tree, style, lineEnd, printk) => {
        const report = parseTap(renderTap(tree, { style, lineEnd, printk }));
        expect(shape(report.tests)).toEqual(shape(tree));
        expect(report.complete).toBe(isWhole(tree));
        if (isWhole(tree)) expect(report.tests).toEqual(tree);
      }),
      runs,
    );
  });

  it('is read the same however the bytes are cut into pieces', () => {
    fc.assert(
      fc.property(tests, styles, fc.array(fc.nat(2_000), { maxLength: 10 }), (tree, style, cuts) => {
        const bytes = Buffer.from(renderTap(tree, { style }));
        const parser = new TapParser();
        const ends = [...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length];
        for (const [index, end] of ends.entries()) parser.feed(bytes.subarray(ends[index - 1] ?? 0, end));
        expect(parser.end()).toEqual(parseTap(bytes));
      }),
      runs,
    );
  });

  const kernelText = fc.constantFrom(
    'random: crng init done',
    'usb 1-1: new device',
    'ok 1 not a test',
    'not ok 2 neither',
    '1..7',
    '',
    '# x',
    'traps: a [    1.000000] b',
  );

  it('keeps every outcome when kernel messages cut in anywhere', () => {
    fc.assert(
      fc.property(
        tests,
        styles,
        lineEnds,
        fc.array(fc.record({ at: fc.nat(1_500), text: kernelText }), { minLength: 1, maxLength: 12 }),
        (tree, anyStyle, lineEnd, messages) => {
          // A test that shows dmesg behind "# " looks like one that lost results to messages just there.
          const style = anyStyle === 'kselftest' && (!isWhole(tree) || messages.length > 1) ? 'ktap' : anyStyle;
          const report = parseTap(cutInKernelMessages(renderTap(tree, { style, lineEnd }), messages));
          expect(shape(report.tests)).toEqual(shape(tree));
          expect(report.complete).toBe(isWhole(tree));
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('keeps every outcome when the kernel prints the tests and other messages between them', () => {
    fc.assert(
      fc.property(
        tests,
        fc.constantFrom('ktap', 'kunit'),
        fc.array(fc.nat(60), { maxLength: 10 }),
        (tree, style, places) => {
          const lines = renderTap(tree, { style, printk: true }).split(/(?<=\n)/);
          for (const place of places)
            lines.splice(
              place % (lines.length + 1),
              0,
              '[    9.000000] random: crng init done\n',
              'systemd[1]: Started something.\n',
            );
          expect(shape(parseTap(lines.join('')).tests)).toEqual(shape(tree));
        },
      ),
      runs,
    );
  });
});

describe('any input whatever', () => {
  const pieces = fc.constantFrom(
    'ok',
    'not ',
    'ok 1',
    ' - x',
    '# ',
    '    ',
    '\t',
    '1..3',
    '1..999999999',
    'KTAP version 1',
    'TAP version 14',
    '\n',
    '\r\n',
    '[    1.000000] ',
    '# Subtest: a',
    'Bail out!',
    '---',
    '...',
    '# SKIP',
    '<6>',
    '\x1b[1m',
    '0',
  );

  it('never throws, and what it gives is JSON-safe and adds up', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 300 }),
          fc.array(pieces, { maxLength: 80 }).map((parts) => Buffer.from(parts.join(''))),
        ),
        (bytes) => {
          const report = parseTap(bytes, { maxResults: 50 });
          expect(JSON.parse(JSON.stringify(report))).toEqual(report);
          const { total, ...each } = report.totals;
          expect(Object.values(each).reduce((sum, count) => sum + count, 0)).toBe(total);
          expect(total).toBeLessThanOrEqual(100);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
