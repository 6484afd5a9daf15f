import { describe, expect, test } from 'vitest';
import { diskBytes } from '@bringup/core';
import { qcow2Overlay } from '../src/qcow2.ts';

describe('an overlay image', () => {
  test.for([512, 8 * 1024 ** 3, 40 * 1024 ** 4])(
    'over a disk of %i bytes has that size, and names its base and the base’s format',
    (size) => {
      const image = qcow2Overlay('/store/ü/root.img', 'raw', size);
      expect(image.readBigUInt64BE(24)).toBe(BigInt(size));
      // What lies over something else is nothing that a build may bring.
      expect(() => diskBytes('qcow2', image, image.length)).toThrow('backing file');
      const nameAt = Number(image.readBigUInt64BE(8));
      expect(image.subarray(nameAt, nameAt + image.readUInt32BE(16)).toString('utf8')).toBe('/store/ü/root.img');
      expect(image.subarray(112, 115).toString('latin1')).toBe('raw');
    },
  );

  test('has room in its first-level table for the whole disk', () => {
    const size = 10 * 1024 ** 4;
    const entries = qcow2Overlay('/b', 'raw', size).readUInt32BE(36);
    expect(entries * 8192 * 65_536).toBeGreaterThanOrEqual(size);
  });
});

describe('the size of a disk', () => {
  test('of a raw image is rounded up to whole sectors', () => {
    expect(diskBytes('raw', new Uint8Array(), 513)).toBe(1024);
  });

  test('of a qcow2 image that is none is refused', () => {
    expect(() => diskBytes('qcow2', Buffer.from('a raw image, really, of some bytes'), 34)).toThrow('not a qcow2');
  });
});
