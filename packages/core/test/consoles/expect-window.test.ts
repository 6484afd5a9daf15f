import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExpectWindow } from '../../src/consoles/expect.ts';
import { compilePattern } from '../../src/consoles/patterns.ts';

const kernelMessage = '[   12.345678] random: crng init done\r\n';

/** Where the kernel cuts into what programs say, and in which pieces all of it arrives. */
const asItArrives = fc.record({
  messagesAt: fc.array(fc.nat({ max: 120 }), { maxLength: 12 }),
  pieces: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }),
});

/** Programs' text with messages in it; not inside of a line end, which the terminal writes at once. */
function withMessages(text: string, messagesAt: readonly number[]): string {
  const places = new Set(messagesAt.filter((at) => at <= text.length && text[at] !== '\n'));
  return Array.from(
    { length: text.length + 1 },
    (_, at) => (places.has(at) ? kernelMessage : '') + text.slice(at, at + 1),
  ).join('');
}

function* inPieces(text: string, sizes: readonly number[]): Generator<Buffer> {
  for (let at = 0, turn = 0; at < text.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    yield Buffer.from(text.slice(at, at + size));
    at += size;
  }
}

describe('what is between two patterns', () => {
  it('is what programs said, wherever the kernel cuts into it and in whatever pieces it comes', () => {
    const line = fc.stringMatching(/^[a-z .]{0,12}$/);
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 5 }), asItArrives, (lines, { messagesAt, pieces }) => {
        const said = `<begin>${lines.join('\r\n')}<end>\r\n`;
        const window = new ExpectWindow();
        const passed: string[] = [];
        const patterns = ['<begin>', '<end>'].map((pattern) => [compilePattern(pattern)]);
        for (const piece of inPieces(withMessages(said, messagesAt), pieces)) {
          window.feed(piece);
          for (let found = true; found && patterns[0] !== undefined;) {
            const match = window.match(patterns[0], ({ programs }) => passed.push(...programs));
            found = match !== undefined;
            if (match === undefined) continue;
            if (patterns.length === 1) passed.push(match.programBefore);
            else passed.length = 0;
            patterns.shift();
          }
        }
        expect(passed).toEqual(lines);
      }),
      { numRuns: 2_000 },
    );
  });
});
