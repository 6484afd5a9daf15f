import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanConsoleText, parsePrintk } from '../../src/consoles/console-text.ts';
import { KernelMessageFilter } from '../../src/consoles/kernel-messages.ts';
import { LineSplitter, type ConsoleLine } from '../../src/consoles/line-splitter.ts';

function split(pieces: readonly Uint8Array[], maxLineBytes?: number): ConsoleLine[] {
  const splitter = new LineSplitter(maxLineBytes === undefined ? {} : { maxLineBytes });
  return [...pieces.flatMap((piece) => splitter.feed(piece)), ...splitter.end()];
}

const texts = (text: string): string[] => split([Buffer.from(text)]).map((line) => line.text);

describe('a console split into lines', () => {
  it('takes LF, CRLF, CR CR LF and a lone CR as line ends', () => {
    expect(texts('a\nb\r\nc\r\r\nd\re\n')).toEqual(['a', 'b', 'c', 'd', 'e']);
  });

  it('keeps empty lines and drops none for a carriage return at the start of a line', () => {
    expect(texts('a\n\n\rb\n')).toEqual(['a', '', 'b']);
  });

  it('says where each line starts', () => {
    expect(split([Buffer.from('ab\r\ncd\nef')]).map((line) => line.offset)).toEqual([0, 4, 7]);
  });

  it('keeps the first part of a line that is too long and says so', () => {
    expect(split([Buffer.from('abcdefgh\nij\n')], 4)).toEqual([
      { text: 'abcd', offset: 0, truncated: true },
      { text: 'ij', offset: 9, truncated: false },
    ]);
  });

  it('shows an unfinished line, without half an escape sequence at its end', () => {
    const splitter = new LineSplitter();
    splitter.feed(Buffer.from('done\nlogin: \x1b[3'));
    expect(splitter.partial).toEqual({ text: 'login: ', offset: 5, truncated: false });
  });

  it('gives the same lines however the bytes are cut into pieces', () => {
    const bytes = fc
      .array(fc.constantFrom(...'ab\r\n\x1b[ é'), { maxLength: 60 })
      .map((parts) => Buffer.from(parts.join('')));
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(60), { maxLength: 6 }), (data, cuts) => {
        const ends = [...cuts.map((cut) => Math.min(cut, data.length)).toSorted((a, b) => a - b), data.length];
        const pieces = ends.map((end, index) => data.subarray(ends[index - 1] ?? 0, end));
        expect(split(pieces)).toEqual(split([data]));
      }),
      { numRuns: 300 },
    );
  });
});

describe('console text', () => {
  it('loses colours, cursor movements, titles and control characters', () => {
    expect(cleanConsoleText('\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b7\x1b[6n\b\x07\ty')).toBe('red x\ty');
  });

  it('tells a kernel message from its time, level and caller', () => {
    expect(parsePrintk('<6>[   12.345678][    T1] hello')).toEqual({
      message: 'hello',
      seconds: 12.345678,
      priority: 6,
    });
    expect(parsePrintk('[x] hello')).toBeUndefined();
  });
});

describe('kernel messages on a console', () => {
  const demux = (lines: readonly string[]): string[] => {
    const filter = new KernelMessageFilter();
    return [...lines.flatMap((line) => filter.push(line)), ...filter.end()].map(
      (line) => `${line.source}: ${line.text}`,
    );
  };

  it('are taken out of a line they cut into, which is put together again', () => {
    expect(demux(['ok 3 te[    2.123456] random: crng init done', '[    2.2] not a time', 'st_name'])).toEqual([
      'kernel: random: crng init done',
      'program: ok 3 te[    2.2] not a time',
      'program: st_name',
    ]);
    expect(demux(['ok 3 te[    2.123456] random: crng init done', '[    2.200000] usb 1-1: new', 'st_name'])).toEqual([
      'kernel: random: crng init done',
      'kernel: usb 1-1: new',
      'program: ok 3 test_name',
    ]);
  });

  it('may cut into the same line more than once', () => {
    expect(demux(['a[    1.000000] x', 'b[    1.000001] y', 'c'])).toEqual(['kernel: x', 'kernel: y', 'program: abc']);
  });

  it('leave a line that never continues as it was', () => {
    expect(demux(['half[    1.000000] x'])).toEqual(['kernel: x', 'program: half']);
  });
});
