import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkVmSpec, diskBytes, diskHeaderBytes, isBringupError, type VmSpec } from '@bringup/core';
import { checkLocalDisk } from '../../src/local/disk-image.ts';

/** The header of an image that is whole in itself, as `qemu-img create` writes it. */
function header(change: (bytes: Buffer) => void = () => undefined): Buffer {
  const bytes = Buffer.alloc(diskHeaderBytes);
  bytes.writeUInt32BE(0x5146_49fb, 0);
  bytes.writeUInt32BE(3, 4);
  bytes.writeUInt32BE(16, 20);
  bytes.writeBigUInt64BE(1n << 30n, 24);
  bytes.writeUInt32BE(104, 100);
  change(bytes);
  return bytes;
}

describe('an image that a build has made', () => {
  it('is taken when it is whole in itself', () => {
    expect(diskBytes('qcow2', header(), 0)).toBe(1 << 30);
    expect(diskBytes('raw', new Uint8Array(), 513)).toBe(1024);
  });

  it.each<[string, (bytes: Buffer) => void]>([
    ['backing file', (bytes) => bytes.writeBigUInt64BE(112n, 8)],
    ['data in another file', (bytes) => bytes.writeBigUInt64BE(0b100n, 72)],
    ['encrypted', (bytes) => bytes.writeUInt32BE(2, 32)],
    ['version 4', (bytes) => bytes.writeUInt32BE(4, 4)],
    ['claims a disk of 18446744073709551104 bytes', (bytes) => bytes.writeBigUInt64BE(2n ** 64n - 512n, 24)],
    ['claims a disk of 0 bytes', (bytes) => bytes.writeBigUInt64BE(0n, 24)],
    ['not a qcow2 image', (bytes) => bytes.write('text')],
  ])('is refused when it would lead QEMU elsewhere: %s', async (why, change) => {
    expect(() => diskBytes('qcow2', header(change), 104)).toThrow(why);
    const folder = mkdtempSync(join(tmpdir(), 'bringup-image-'));
    try {
      writeFileSync(join(folder, 'root.qcow2'), header(change));
      await expect(checkLocalDisk({ path: join(folder, 'root.qcow2'), format: 'qcow2' })).rejects.toThrow(why);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('whatever its bytes, has a size within bounds or is refused', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 2 * diskHeaderBytes }),
      fc
        .array(fc.tuple(fc.nat(diskHeaderBytes - 1), fc.nat(255)), { maxLength: 4 })
        .map((changes) => header((image) => changes.forEach(([at, value]) => (image[at] = value)))),
      fc.nat(diskHeaderBytes).map((length) => header().subarray(0, length)),
    );
    fc.assert(
      fc.property(bytes, fc.nat(), (start, fileBytes) => {
        try {
          const size = diskBytes('qcow2', start, fileBytes);
          expect(Number.isSafeInteger(size) && size > 0 && size % 512 === 0, String(size)).toBe(true);
          expect(size).toBeLessThanOrEqual(64 * 1024 ** 4);
        } catch (error) {
          expect(isBringupError(error, 'hypervisor-failed'), String(error)).toBe(true);
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('the description of a VM', () => {
  const spec: VmSpec = {
    name: 'vm',
    architecture: 'arm64',
    cpus: 1,
    memoryMb: 128,
    kernel: '/k',
    commandLine: '',
    tags: {},
  };

  it.each([
    'virt,dumpdtb=qemu.json',
    'pc,firmware=x',
    'virt,gic-version=3,dtb=x',
    'pc,kernel=x',
    '-kernel',
    'a b',
    'a\n',
  ])('can’t have QEMU read or write a file by the machine %j', (machine) => {
    expect(() => checkVmSpec({ ...spec, machine })).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  });

  it('may set what else a machine has', () => {
    expect(() =>
      checkVmSpec({ ...spec, machine: 'virt,gic-version=3', cpuModel: 'max,pauth-impdef=on' }),
    ).not.toThrow();
  });
});
