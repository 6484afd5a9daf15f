import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpectWindow } from '../../src/consoles/expect.ts';
import { LinearRegex } from '../../src/consoles/linear-regex.ts';
import { compilePattern } from '../../src/consoles/patterns.ts';
import { isHarmless, requiredText } from '../../src/consoles/regex-syntax.ts';
import { defaultSignatures } from '../../src/consoles/signatures.ts';
import { limits } from '../../src/limits.ts';

/** Expressions over few letters, so that they match; what repeats always takes a letter at least. */
const { expression } = fc.letrec<{ expression: string; piece: string; atom: string }>((tie) => ({
  expression: fc.array(tie('piece'), { minLength: 1, maxLength: 4 }).map((parts) => parts.join('')),
  piece: fc
    .tuple(tie('atom'), fc.constantFrom('', '', '*', '+', '?', '{1,2}', '{2}', '*?', '+?', '??', '{1,}'))
    .map(([atom, quantifier]) => atom + quantifier),
  atom: fc.oneof(
    { maxDepth: 2 },
    fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', String.raw`\w`, String.raw`\.`, ' '),
    fc
      .tuple(fc.constantFrom('(', '(?:'), tie('expression'), tie('expression'))
      .map(([open, one, two]) => `${open}a${one}|b${two})`),
  ),
}));
const anchored = fc
  .tuple(fc.constantFrom('', '^', String.raw`\b`), expression, fc.constantFrom('', '$', String.raw`\B`))
  .map((parts) => parts.join(''));
const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', ' ', 'A'), maxLength: 12 });

describe('patterns', () => {
  it('matched in linear time are found where the runtime’s own engine finds them, with the same groups', () => {
    fc.assert(
      fc.property(anchored, text, fc.constantFrom('', 'i'), (source, line, flags) => {
        const theirs = new RegExp(source, `${flags}d`).exec(line);
        const ours = new LinearRegex(source, flags).exec(line);
        expect(ours).toEqual(theirs?.indices?.flatMap((pair) => pair ?? [-1, -1]));
      }),
      { numRuns: 3_000 },
    );
  });

  it('that match hold the text that they are said to need', () => {
    expect(requiredText(String.raw`BUG: KASAN: \S+ in \S+`, '')).toBe('BUG: KASAN: ');
    fc.assert(
      fc.property(anchored, text, (source, line) => {
        if (new RegExp(source).test(line)) expect(line).toContain(requiredText(source, ''));
      }),
      { numRuns: 3_000 },
    );
  });

  it('that would take a backtracking engine years are answered at once', () => {
    const line = 'a'.repeat(limits.consoleLineBytes);
    for (const evil of [/^(a+)+b/, /(a|a)*b/, /(.*)*x/, /.*.*.*.*.*x/, /(a?){20}(a{2,5}){5}b/, /(?:a+a+)+$b/]) {
      expect(compilePattern(evil).find(line), String(evil)).toBeUndefined();
    }
    expect(compilePattern(/(a+)+$/).find(line)).toEqual({ start: 0, end: line.length, groups: [line, line] });
  });

  it('that no bound is known for are refused, and so are malformed ones', () => {
    for (const pattern of [/(a+)+(?=b)/, /(.*)\1.*x/, { regex: '(' }, '']) {
      expect(() => compilePattern(pattern), String(pattern)).toThrow(
        expect.objectContaining({ code: 'invalid-input' }),
      );
    }
  });

  it('the default signatures are all cheap: an ordinary line costs one look', () => {
    const sources = defaultSignatures.flatMap(({ start }) => (start instanceof RegExp ? [start.source] : []));
    expect(sources.filter((source) => !isHarmless(source))).toEqual([]);
    expect(sources.length).toBeGreaterThan(20);
  });

  it('are found alike, in whatever pieces the console says them', () => {
    const said = fc.array(fc.constantFrom('login: ', 'panic', '\r\n', 'é', '\x1b[1m', 'a', 'x y', '[    1.5]'), {
      maxLength: 30,
    });
    fc.assert(
      fc.property(said, fc.array(fc.nat(300), { maxLength: 12 }), (words, cuts) => {
        const bytes = Buffer.from(words.join(''));
        const find = (pieces: readonly Uint8Array[]): readonly unknown[] => {
          const window = new ExpectWindow();
          const patterns = ['login: ', 'panic', /x (y)/].map(compilePattern);
          const found: unknown[] = [];
          for (const piece of pieces) {
            window.feed(piece);
            for (let match = window.match(patterns); match !== undefined; match = window.match(patterns))
              found.push([match.index, match.groups]);
          }
          return found;
        };
        const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
        const pieces = [...at, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : at[index - 1], end));
        expect(find(pieces)).toEqual(find([bytes]));
      }),
      { numRuns: 500 },
    );
  });
});
