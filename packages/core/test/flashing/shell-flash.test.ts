import { createHash } from 'node:crypto';
import { chmod, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { faultyShell, type FlashFaults } from '../../../../test/fixtures/faulty-shell.ts';
import type { BlockMap, FlashStation, FlashTarget } from '../../src/index.ts';
import { limits, localShell, rauc, shellFlash, swupdate, type ShellFlashStation } from '../../src/index.ts';
import { flashContract } from '../../src/testing/index.ts';

const board: FlashTarget['board'] = { id: 'b1', name: 'board-1', boardType: 'generic', architecture: 'arm64' };
const target = { hostname: 'localhost', username: 'me' };
const mebibyte = 1024 * 1024;

let folder: string;
let medium: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bringup-flash-'));
  medium = join(folder, 'medium');
  await writeFile(medium, Buffer.alloc(4 * mebibyte, 0xee));
});
afterEach(() => rm(folder, { recursive: true }));

async function open(station: Omit<ShellFlashStation, 'target'>, faults: FlashFaults = {}): Promise<FlashStation> {
  const connector = shellFlash({
    shell: faultyShell(localShell(), faults),
    stations: { here: { target, ...station } },
  });
  return connector.open({ stationId: 'here', board });
}

for (const offsetBytes of [0, 3 * 512]) {
  flashContract({
    name: `a file over this machine's shell, from byte ${offsetBytes} on`,
    setup: async () => {
      const faults: FlashFaults = {};
      const slot = { method: 'block', device: medium, offsetBytes, sizeBytes: mebibyte } as const;
      const station = await open({ slots: { system: slot } }, faults);
      const stored = async (): Promise<Buffer> => (await readFile(medium)).subarray(offsetBytes);
      return {
        station,
        slot: 'system',
        proof: 'readback',
        contents: async () => {
          const all = await readFile(medium);
          const around = Buffer.concat([all.subarray(0, offsetBytes), all.subarray(offsetBytes + mebibyte)]);
          // What lies around the slot is nobody's to touch.
          if (around.length !== 3 * mebibyte || around.some((byte) => byte !== 0xee)) return Buffer.from('damaged');
          return (await stored()).subarray(0, mebibyte);
        },
        corruptNext: () => {
          faults.beforeReadBack = async () => {
            const damaged = await readFile(medium);
            damaged.writeUInt8(damaged.readUInt8(offsetBytes + 500_000) ^ 1, offsetBytes + 500_000);
            await writeFile(medium, damaged);
          };
        },
        cutNext: () => {
          faults.cut = { afterBytes: 300_000 };
        },
        dispose: async () => {
          await station[Symbol.asyncDispose]();
        },
      };
    },
  });
}

describe('flashing over a shell', () => {
  const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  const source = (bytes: Uint8Array) => ({
    sizeBytes: bytes.length,
    async *read(offset = 0) {
      yield bytes.subarray(offset);
    },
  });

  test('says whether a slot holds what it should, without writing to it', async () => {
    await using station = await open({ slots: { system: { method: 'block', device: medium, offsetBytes: 4096 } } });
    const bytes = Buffer.from('a small image');
    await station.flash({ slot: 'system', bytes: source(bytes) });
    const expected = { slot: 'system', sizeBytes: bytes.length, sha256: sha256(bytes) };
    expect(await station.verify?.(expected)).toBe(true);
    expect(await station.verify?.({ ...expected, sha256: sha256(Buffer.from('another')) })).toBe(false);
    expect(await station.verify?.({ ...expected, sizeBytes: 8 * mebibyte })).toBe(false);
  });

  describe('with a block map', () => {
    /** An image of three stretches with something in them, in a slot that begins in the middle of a block. */
    const stretches = [
      [512, 1024],
      [8192, 300_032],
      [999_424, 1_000_100],
    ] as const;
    const image = Buffer.alloc(1_000_100);
    for (const [from, to] of stretches) image.fill(7, from, to);
    const mapOf = (bytes: Buffer): BlockMap => ({
      imageBytes: bytes.length,
      blockBytes: 512,
      ranges: stretches.map(([from, to]) => ({
        offsetBytes: from,
        sizeBytes: to - from,
        sha256: sha256(bytes.subarray(from, to)),
      })),
    });
    const offsetBytes = 3 * 512;
    const slots = () => ({ system: { method: 'block', device: medium, offsetBytes } }) as const;

    test('writes and reads back what the map has, and touches nothing else', async () => {
      await using station = await open({ slots: slots() });
      const receipt = await station.flash({ slot: 'system', bytes: source(image), blockMap: mapOf(image) });
      expect(receipt).toEqual({ slot: 'system', sizeBytes: image.length, sha256: sha256(image), verified: 'readback' });
      const expected = Buffer.alloc(4 * mebibyte, 0xee);
      for (const [from, to] of stretches) expected.fill(7, offsetBytes + from, offsetBytes + to);
      expect((await readFile(medium)).equals(expected)).toBe(true);
    });

    test('finds damage in what the map has, and cares for none elsewhere', async () => {
      const damageAt = async (at: number): Promise<void> => {
        const bytes = await readFile(medium);
        bytes.writeUInt8(1, offsetBytes + at);
        await writeFile(medium, bytes);
      };
      const faults: FlashFaults = {};
      await using station = await open({ slots: slots() }, faults);
      const flash = () => station.flash({ slot: 'system', bytes: source(image), blockMap: mapOf(image) });
      faults.beforeReadBack = () => damageAt(1_000_099);
      await expect(flash()).rejects.toMatchObject({ code: 'checksum-mismatch', retryable: true });
      faults.beforeReadBack = () => damageAt(500_000);
      await flash();
      const expectation = { slot: 'system', sizeBytes: image.length, sha256: sha256(image) };
      expect(await station.verify?.({ ...expectation, blockMap: mapOf(image) })).toBe(true);
      expect(await station.verify?.(expectation)).toBe(false);
    });

    test('refuses a map that is another image’s', async () => {
      await using station = await open({ slots: slots() });
      const other = Buffer.from(image);
      other.writeUInt8(8, 9000);
      await expect(
        station.flash({ slot: 'system', bytes: source(image), blockMap: mapOf(other) }),
      ).rejects.toMatchObject({ code: 'checksum-mismatch', message: expect.stringContaining('block map') });
      const shorter = mapOf(image.subarray(0, image.length - 1));
      await expect(station.flash({ slot: 'system', bytes: source(image), blockMap: shorter })).rejects.toMatchObject({
        code: 'invalid-input',
      });
    });

    test('may have more ranges than one command is told of', async () => {
      const many = limits.blockMapRangesAtOnce + 1;
      const bytes = Buffer.alloc(many * 1024, 7);
      const ranges = Array.from({ length: many }, (_, index) => ({
        offsetBytes: index * 1024,
        sizeBytes: 512,
        sha256: sha256(bytes.subarray(0, 512)),
      }));
      await using station = await open({ slots: { system: { method: 'block', device: medium } } });
      const blockMap = { imageBytes: bytes.length, blockBytes: 512, ranges };
      await station.flash({ slot: 'system', bytes: source(bytes), blockMap });
      const stored = await readFile(medium);
      expect(stored.subarray((many - 1) * 1024, (many - 1) * 1024 + 513)).toEqual(
        Buffer.concat([Buffer.alloc(512, 7), Buffer.from([0xee])]),
      );
      expect(stored.subarray(0, bytes.length).filter((byte) => byte === 7)).toHaveLength(many * 512);
    }, 120_000);
  });

  test('refuses an image that is larger than its slot, and writes nothing of it', async () => {
    await using station = await open({ slots: { boot: { method: 'block', device: medium, sizeBytes: 10 } } });
    await expect(station.flash({ slot: 'boot', bytes: source(Buffer.alloc(11)) })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { slot: 'boot', capacityBytes: 10 },
    });
    expect((await readFile(medium)).every((byte) => byte === 0xee)).toBe(true);
  });

  test('refuses a device that is not there, and names it', async () => {
    const device = join(folder, 'gone');
    await using station = await open({ slots: { system: { method: 'block', device } } });
    await expect(station.flash({ slot: 'system', bytes: source(Buffer.alloc(512)) })).rejects.toMatchObject({
      code: 'flash-failed',
      message: expect.stringContaining(`there is no block device ${device}`),
    });
  });

  test('a medium that stops taking bytes is a failed flash with what the writer said', async () => {
    // Writing to it fails as a full medium does; it is as large as it likes, so the size does not tell.
    const full = join(folder, 'full');
    await writeFile(full, Buffer.alloc(mebibyte));
    await using station = await open({ slots: { system: { method: 'block', device: full } } }, {});
    const shim = join(folder, 'dd');
    await writeFile(shim, '#!/bin/sh\necho "dd: writing: No space left on device" >&2\nexit 1\n');
    await chmod(shim, 0o755);
    const path = process.env['PATH'];
    process.env['PATH'] = `${folder}:${path}`;
    try {
      await expect(station.flash({ slot: 'system', bytes: source(Buffer.alloc(mebibyte)) })).rejects.toMatchObject({
        code: 'flash-failed',
        retryable: true,
        message: expect.stringContaining('No space left on device'),
      });
    } finally {
      process.env['PATH'] = path;
    }
  });

  test('a station that is not known and a slot that can’t be are told by name', async () => {
    const connector = shellFlash({ shell: localShell(), stations: { here: { target, slots: {} } } });
    await expect(connector.open({ stationId: 'elsewhere', board })).rejects.toMatchObject({ code: 'not-found' });
    const slots = { system: { method: 'block', device: 'sda', offsetBytes: 100 } } as const;
    expect(() => shellFlash({ shell: localShell(), stations: { here: { target, slots } } })).toThrow(
      expect.objectContaining({
        code: 'invalid-input',
        details: expect.objectContaining({
          issues: [
            expect.objectContaining({ path: 'slots.system.device' }),
            expect.objectContaining({ path: 'slots.system.offsetBytes' }),
          ],
        }),
      }),
    );
  });

  describe('of a card behind a multiplexer', () => {
    const mux = () => ({
      toHost: ['sh', '-c', 'echo host >> "$1/switched"; mv "$1/away" "$1/medium"', 'sh', folder] as const,
      toBoard: ['sh', '-c', 'echo board >> "$1/switched"; mv "$1/medium" "$1/away"', 'sh', folder] as const,
      device: medium,
    });
    const switched = async (): Promise<string[]> =>
      (await readFile(join(folder, 'switched'), 'utf8')).trim().split('\n');
    beforeEach(async () => {
      await writeFile(join(folder, 'away'), await readFile(medium));
      await rm(medium);
    });

    test('takes the card, writes it, and gives it back', async () => {
      await using station = await open({ slots: { card: { method: 'block', device: medium } }, sdMux: mux() });
      const bytes = Buffer.alloc(100_000, 7);
      expect(await station.flash({ slot: 'card', bytes: source(bytes) })).toMatchObject({ verified: 'readback' });
      expect(await switched()).toEqual(['host', 'board']);
      expect((await readFile(join(folder, 'away'))).subarray(0, bytes.length).equals(bytes)).toBe(true);
    });

    test('gives it back when the flash fails or is aborted, too', async () => {
      await using station = await open({ slots: { card: { method: 'block', device: medium } }, sdMux: mux() });
      const lying = { ...source(Buffer.alloc(1000)), sha256: '0'.repeat(64) };
      await expect(station.flash({ slot: 'card', bytes: lying })).rejects.toMatchObject({ code: 'checksum-mismatch' });
      const stop = new AbortController();
      const bytes = {
        sizeBytes: 2000,
        async *read() {
          yield Buffer.alloc(1000);
          stop.abort();
          yield Buffer.alloc(1000);
        },
      };
      await expect(station.flash({ slot: 'card', bytes }, { signal: stop.signal })).rejects.toMatchObject({
        code: 'aborted',
      });
      // The next call waits for the card to be back.
      await station.flash({ slot: 'card', bytes: source(Buffer.alloc(10)) });
      expect(await switched()).toEqual(['host', 'board', 'host', 'board', 'host', 'board']);
    });
  });

  describe('by the board’s own updater', () => {
    const updater = async (script: string): Promise<string> => {
      const path = join(folder, 'updater');
      await writeFile(path, `#!/bin/sh\n${script}\n`);
      await chmod(path, 0o755);
      return path;
    };

    test('hands it the update, and leaves no file behind', async () => {
      const command = await updater('cp "$2" "$(dirname "$0")/got"; echo "$1 $2" > "$(dirname "$0")/argv"');
      const slot = { ...rauc({ folder }), argv: [command, 'install'] as const };
      await using station = await open({ slots: { system: slot } });
      const bytes = Buffer.from('a signed bundle');
      const receipt = await station.flash({ slot: 'system', bytes: source(bytes) });
      expect(receipt).toEqual({ slot: 'system', sizeBytes: bytes.length, sha256: sha256(bytes), verified: 'source' });
      expect(await readFile(join(folder, 'got'))).toEqual(bytes);
      expect(await readFile(join(folder, 'argv'), 'utf8')).toMatch(/^install \/.*\/bringup-[^/]*\.raucb\n$/);
      expect((await readdir(folder)).toSorted()).toEqual(['argv', 'got', 'medium', 'updater']);
    });

    test('tells what it said when it refuses, and leaves no file behind', async () => {
      const command = await updater('echo "signature verification failed" >&2; exit 1');
      await using station = await open({ slots: { system: { method: 'updater', argv: [command], folder } } });
      await expect(station.flash({ slot: 'system', bytes: source(Buffer.alloc(3)) })).rejects.toMatchObject({
        code: 'flash-failed',
        message: expect.stringContaining('signature verification failed'),
      });
      expect((await readdir(folder)).toSorted()).toEqual(['medium', 'updater']);
    });

    test('can’t be asked to read back', async () => {
      await using station = await open({ slots: { system: rauc() } });
      await expect(
        station.verify?.({ slot: 'system', sizeBytes: 1, sha256: sha256(Buffer.alloc(1)) }),
      ).rejects.toMatchObject({ code: 'unsupported' });
    });

    test('SWUpdate is told the set and the key, and proves nothing without one', () => {
      expect(swupdate({ select: 'stable,copy-2', publicKey: '/etc/key.pem' })).toMatchObject({
        argv: ['swupdate', '-e', 'stable,copy-2', '-k', '/etc/key.pem', '-i'],
        proof: 'source',
      });
      expect(swupdate()).toMatchObject({ argv: ['swupdate', '-i'], proof: 'transport' });
    });
  });
});
