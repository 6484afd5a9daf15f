import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { argumentFault, argumentOfBytes, bytesOfArgument } from '@bringup/core';

/** Bytes that begin, continue and break UTF-8 must be frequent. */
const byte = fc.oneof(
  fc.constantFrom(0x41, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff),
  fc.integer({ min: 1, max: 255 }),
);
const bytes = fc.array(byte, { maxLength: 12 }).map((all) => Buffer.from(all));

describe('an argument of any bytes', () => {
  it('is the same bytes again, also where it is put together and stored as JSON', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.string({ unit: 'binary' }), (one, other, text) => {
        const argument = JSON.parse(JSON.stringify(argumentOfBytes(one) + text + argumentOfBytes(other))) as string;
        expect(argumentFault(argument.replaceAll('\0', ''))).toBe(undefined);
        expect(bytesOfArgument(argument).equals(Buffer.concat([one, Buffer.from(text), other]))).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is that text where the bytes are text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(argumentOfBytes(Buffer.from(text))).toBe(text);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each(['a\0', '\ud800', 'a\udbff', '\udc7f', '\udd00', '\ud83dx'])('is not %j', (text) => {
    expect(argumentFault(text)).toMatch(/^must not contain/);
  });
});
