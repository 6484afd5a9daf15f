import { isBringupError } from '@bringup/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeRemoteError, fromRemoteError } from '../src/rpc/remote-error.ts';
import { XdrReader, XdrWriter } from '../src/rpc/xdr.ts';
import { readTypedParams } from '../src/typed-params.ts';
import { readDomain, writeDomain } from '../src/domain.ts';

const wellFormed = fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed());

/** Decoding garbage must end with a value or with our own error. */
function endsTyped(decode: () => unknown): void {
  try {
    decode();
  } catch (error) {
    expect(isBringupError(error, 'hypervisor-failed')).toBe(true);
  }
}

describe('XDR', () => {
  test('what is written is read back, whatever it is', () => {
    const record = fc.record({
      u32: fc.integer({ min: 0, max: 0xffff_ffff }),
      i32: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
      u64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      text: wellFormed,
      maybe: fc.option(wellFormed, { nil: undefined }),
      bytes: fc.uint8Array({ maxLength: 70 }),
      list: fc.array(wellFormed, { maxLength: 8 }),
    });
    fc.assert(
      fc.property(record, (value) => {
        const writer = new XdrWriter().u32(value.u32).i32(value.i32).u64(value.u64).string(value.text);
        writer.optional(value.maybe, (text) => writer.string(text)).opaque(value.bytes);
        const bytes = writer.array(value.list, (text) => writer.string(text)).bytes();
        expect(bytes.length % 4).toBe(0);
        const reader = new XdrReader(bytes);
        expect({
          u32: reader.u32(),
          i32: reader.i32(),
          u64: reader.u64(),
          text: reader.string(),
          maybe: reader.optional(() => reader.string()),
          bytes: new Uint8Array(reader.opaque(70)),
          list: reader.array(8, () => reader.string()),
        }).toEqual(value);
        expect(reader.remaining).toBe(0);
      }),
    );
  });

  test('a domain keeps its name, UUID and number', () => {
    fc.assert(
      fc.property(wellFormed, fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.integer(), (name, uuid, id) => {
        const bytes = writeDomain(new XdrWriter(), { name, uuid: Buffer.from(uuid), id }).bytes();
        expect(readDomain(new XdrReader(bytes))).toEqual({ name, uuid: Buffer.from(uuid), id });
      }),
    );
  });

  test('an item that claims to be longer than its message is refused without being waited for', () => {
    const bytes = new XdrWriter().u32(0x7fff_ffff).u32(1).bytes();
    expect(() => new XdrReader(bytes).opaque(0xffff_ffff)).toThrow('too early');
    expect(() => new XdrReader(bytes).string()).toThrow('longer than');
    expect(() => new XdrReader(bytes).array(100, () => 0)).toThrow('longer than');
  });

  test('random bytes never make a decoder hang or throw anything untyped', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        endsTyped(() => decodeRemoteError(bytes));
        endsTyped(() => readDomain(new XdrReader(bytes)));
        endsTyped(() => readTypedParams(new XdrReader(bytes)));
      }),
      { numRuns: 1_000 },
    );
  });

  test('a valid message cut anywhere is refused with our own error', () => {
    const writer = new XdrWriter().u32(1);
    const whole = writer.string('state.state').i32(1).i32(5).bytes();
    expect(readTypedParams(new XdrReader(whole))).toEqual(new Map([['state.state', 5]]));
    for (let length = 0; length < whole.length; length += 1) {
      expect(() => readTypedParams(new XdrReader(whole.subarray(0, length)))).toThrow(/libvirt's protocol/);
    }
  });
});

describe('an error of libvirt', () => {
  test.for([
    [42, 'not-found'],
    [28, 'conflict'],
    [3, 'unsupported'],
    [88, 'authentication-failed'],
    [1, 'hypervisor-failed'],
  ] as const)('number %i becomes %s and keeps what libvirt said', ([code, ours]) => {
    const error = fromRemoteError({ code, domain: 10, message: 'as libvirt put it' }, 'The call');
    expect(error.code).toBe(ours);
    expect(error.message).toContain('as libvirt put it');
    expect(error.details).toEqual({ libvirtCode: code, libvirtDomain: 10, libvirtMessage: 'as libvirt put it' });
  });

  test('about permissions says whose permissions to change', () => {
    const error = fromRemoteError(
      { code: 38, domain: 10, message: "Cannot access '/home/x/bzImage': Permission denied" },
      'The call',
    );
    expect(error.message).toContain('libvirt-qemu');
  });
});
