import { describe, expect, test } from 'vitest';
import { type CpioEntry, writeCpio } from '../src/cpio.ts';

const entries: readonly CpioEntry[] = [
  { path: 'init', type: 'file', content: Buffer.from('#!/bin/sh\n'), executable: true },
  { path: 'bin', type: 'folder' },
  { path: 'bin/sh', type: 'link', target: 'busybox' },
  { path: 'dev/console', type: 'device', major: 5, minor: 1 },
  { path: 'empty', type: 'file', content: Buffer.alloc(0) },
];

/** Reads an archive back by the format's description, written apart from the writer. */
function read(archive: Buffer): { name: string; mode: string; device: string; content: string }[] {
  const found: { name: string; mode: string; device: string; content: string }[] = [];
  for (let at = 0; ;) {
    const field = (index: number): number =>
      Number.parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16);
    expect(archive.toString('latin1', at, at + 6)).toBe('070701');
    const name = archive.toString('latin1', at + 110, at + 110 + field(11) - 1);
    const start = (at + 110 + field(11) + 3) & ~3;
    if (name === 'TRAILER!!!') return found;
    found.push({
      name,
      mode: field(1).toString(8),
      device: `${field(9)}:${field(10)}`,
      content: archive.toString('latin1', start, start + field(6)),
    });
    at = (start + field(6) + 3) & ~3;
  }
}

describe('the initrd archive', () => {
  test('holds files, folders, links and devices as the kernel reads them', () => {
    expect(read(writeCpio(entries))).toEqual([
      { name: 'bin', mode: '40755', device: '0:0', content: '' },
      { name: 'bin/sh', mode: '120777', device: '0:0', content: 'busybox' },
      { name: 'dev/console', mode: '20600', device: '5:1', content: '' },
      { name: 'empty', mode: '100644', device: '0:0', content: '' },
      { name: 'init', mode: '100755', device: '0:0', content: '#!/bin/sh\n' },
    ]);
  });

  test('has the same bytes whatever the order of its entries', () => {
    expect(writeCpio(entries.toReversed()).equals(writeCpio(entries))).toBe(true);
  });
});
