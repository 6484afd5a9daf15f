import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cut, formatBytes, formatDuration, printable } from '../src/text.ts';

describe('text from a device', () => {
  test('shows its escape sequences instead of obeying them', () => {
    expect(printable('\u001b[2Jhi\u0007\u009b\u202eabc\r')).toBe('\\x1b[2Jhi\\x07\\x9b\\u202eabc');
  });

  test('never reaches the terminal with a control character, whatever it says', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => !/[\u0000-\u001f\u007f-\u009f]/.test(printable(text))),
      { numRuns: 200 },
    );
  });

  test('holds no command of a CI runner, wherever it stands', () => {
    for (const said of ['##vso[task.setvariable variable=a]b', 'x ##[error]y', '###teamcity[z', '##vso##vso[a'])
      expect(printable(said)).not.toMatch(/##\w*\[/);
  });

  test('is left as it is when it is harmless', () => {
    expect(printable('ok 1 – größer │ done')).toBe('ok 1 – größer │ done');
  });
});

test('cut text has the width and shows the cut', () => {
  expect(cut('short', 5)).toBe('short');
  expect(cut('longer', 5)).toBe('long…');
});

test('bytes and durations are told with a unit and few digits', () => {
  expect([999, 24_232, 1_048_576, 999_600, 12_500_000_000].map(formatBytes)).toEqual([
    '999 B',
    '24 kB',
    '1.0 MB',
    '1.0 MB',
    '13 GB',
  ]);
  expect([340, 2_440, 185_000].map(formatDuration)).toEqual(['340 ms', '2.4 s', '3 min 5 s']);
});
