import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteSource, TransferProgress } from '@bringup/core';
import { ConsoleReader, tinyGuest, tinyGuestImage } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { LibvirtSession } from '../../src/index.ts';
import { startLocalHost } from './host.ts';
import type { LocalHost } from './host.ts';

let host: LocalHost;
let session: LibvirtSession;
let folder: string;
beforeAll(async () => {
  host = await startLocalHost();
  session = await host.connect();
  folder = join(host.daemon.workspace, 'images');
  await session.storage.ensurePool({ name: 'images', folder });
});
afterAll(() => host[Symbol.asyncDispose]());

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function source(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.length,
    async *read(offset = 0) {
      for (let at = offset; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000);
    },
  };
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return Buffer.concat(list);
}

describe('a storage pool', () => {
  test('is made once, is there again for the next who wants it, and can be forgotten', async () => {
    const { storage } = session;
    const pool = { name: 'scratch', folder: join(host.daemon.workspace, 'scratch') };
    expect(await storage.findPool('scratch')).toBeUndefined();
    const made = await storage.ensurePool(pool);
    expect(made).toMatchObject({ name: 'scratch', state: 'running' });
    expect(made.availableBytes).toBeGreaterThan(0);
    expect(await storage.ensurePool(pool)).toMatchObject({ name: 'scratch', state: 'running' });
    expect((await storage.listPools()).map(({ name }) => name).toSorted()).toEqual(['images', 'scratch']);
    await storage.removePool('scratch');
    await storage.removePool('scratch');
    expect(await storage.findPool('scratch')).toBeUndefined();
    expect((await stat(pool.folder)).isDirectory()).toBe(true);
  });

  test('that was stopped is started again', async () => {
    const pool = { name: 'paused', folder: join(host.daemon.workspace, 'paused') };
    await session.storage.ensurePool(pool);
    await host.virsh('pool-destroy', 'paused');
    expect(await session.storage.findPool('paused')).toMatchObject({ state: 'inactive' });
    expect(await session.storage.ensurePool(pool)).toMatchObject({ state: 'running' });
    await session.storage.removePool('paused');
  });

  test('that is not there is not found', async () => {
    await expect(session.storage.listVolumes('nowhere')).rejects.toMatchObject({ code: 'not-found' });
    await expect(session.storage.ensurePool({ name: '../x', folder })).rejects.toMatchObject({ code: 'invalid-input' });
  });
});

describe('a volume', () => {
  test('is created, found, listed and deleted, twice too', async () => {
    const { storage } = session;
    const name = { pool: 'images', name: 'empty.qcow2' };
    const made = await storage.createVolume({ ...name, capacityBytes: 1024 ** 3, format: 'qcow2' });
    expect(made).toMatchObject({ ...name, path: join(folder, 'empty.qcow2'), capacityBytes: 1024 ** 3 });
    expect(await storage.findVolume(name)).toEqual(made);
    expect(await storage.listVolumes('images')).toContainEqual(made);
    await expect(storage.createVolume({ ...name, capacityBytes: 1 })).rejects.toMatchObject({ code: 'conflict' });
    await storage.deleteVolume(name);
    await storage.deleteVolume(name);
    expect(await storage.findVolume(name)).toBeUndefined();
    await expect(stat(made.path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test.for([0, 1, 262_120, 5_000_001])(
    'of %i bytes holds what was sent, byte for byte, and gives it back',
    async (size) => {
      const bytes = randomBytes(size);
      const name = { pool: 'images', name: `bytes-${size}` };
      const progress: TransferProgress[] = [];
      const receipt = await session.storage.upload(source(bytes), name, { onProgress: (now) => progress.push(now) });
      expect(receipt).toEqual({ sizeBytes: size, sha256: sha256(bytes) });
      expect(progress.at(-1)).toEqual({ transferredBytes: size, totalBytes: size });
      expect(sha256(await readFile(join(folder, name.name)))).toBe(receipt.sha256);
      expect(sha256(await whole(session.storage.download(name, { sha256: receipt.sha256 })))).toBe(receipt.sha256);
      await session.storage.deleteVolume(name);
    },
  );

  test('with other bytes than were promised is no download', async () => {
    const name = { pool: 'images', name: 'changed' };
    await session.storage.upload(source(randomBytes(1000)), name);
    await expect(whole(session.storage.download(name, { sha256: sha256(Buffer.from('other')) }))).rejects.toMatchObject(
      { code: 'checksum-mismatch' },
    );
    await session.storage.deleteVolume(name);
  });

  test('is not left behind by an upload that is aborted, or whose source lies', async () => {
    const name = { pool: 'images', name: 'cut' };
    const controller = new AbortController();
    const bytes = randomBytes(3_000_000);
    const slow: ByteSource = {
      sizeBytes: bytes.length,
      async *read() {
        yield bytes.subarray(0, 1_000_000);
        controller.abort();
        await new Promise(() => {});
      },
    };
    await expect(session.storage.upload(slow, name, { signal: controller.signal })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(await session.storage.findVolume(name)).toBeUndefined();
    const short = { ...source(bytes), sizeBytes: bytes.length + 1 };
    await expect(session.storage.upload(short, name)).rejects.toMatchObject({ code: 'transfer-failed' });
    const long = { ...source(bytes), sizeBytes: bytes.length - 1 };
    await expect(session.storage.upload(long, name)).rejects.toMatchObject({ code: 'transfer-failed' });
    const wrong = { ...source(bytes), sha256: sha256(Buffer.from('other')) };
    await expect(session.storage.upload(wrong, name)).rejects.toMatchObject({ code: 'checksum-mismatch' });
    expect(await session.storage.findVolume(name)).toBeUndefined();
  });

  test('whose download is left goes on being usable, and so does the session', async () => {
    const name = { pool: 'images', name: 'left' };
    await session.storage.upload(source(randomBytes(3_000_000)), name);
    for await (const _ of session.storage.download(name)) break;
    expect((await whole(session.storage.download(name))).length).toBe(3_000_000);
    await session.storage.deleteVolume(name);
  });

  test('is what a VM boots from', async () => {
    await session.storage.upload(source(tinyGuestImage()), { pool: 'images', name: 'kernel' });
    const kernel = (await session.storage.findVolume({ pool: 'images', name: 'kernel' }))?.path ?? '';
    await session.createVm(host.spec('from-volume', { kernel }));
    const reader = new ConsoleReader(await session.openConsole('from-volume'));
    await session.startVm('from-volume');
    expect(await reader.until('\r\n')).toContain(tinyGuest.greeting);
    await session.destroyVm('from-volume');
  });
});

describe('a snapshot', () => {
  async function talkingVm(name: string): Promise<ConsoleReader> {
    const base = join(host.daemon.workspace, `${name}.img`);
    await writeFile(base, Buffer.alloc(1024 * 1024));
    await session.createVm(host.spec(name, { rootfs: { path: base, format: 'raw' } }));
    const console = await session.openConsole(name);
    const reader = new ConsoleReader(console);
    await session.startVm(name);
    await reader.until('\r\n');
    return reader;
  }
  const device = '/machine/peripheral/virtio-disk0/virtio-backend';
  const io = (name: string, command: string): Promise<string> =>
    host.virsh('qemu-monitor-command', '--hmp', name, `qemu-io -d ${device} "${command}"`);

  test('brings back disk and memory; the console goes on where it was', async () => {
    const { snapshots } = session;
    const reader = await talkingVm('rolled-back');
    await io('rolled-back', 'write -P 1 0 4096');
    const taken = await snapshots.create('rolled-back', 'good');
    expect(taken).toMatchObject({ name: 'good', state: 'running' });
    await io('rolled-back', 'write -P 2 0 4096');
    const heard = reader.bytes.length;
    await snapshots.revert('rolled-back', 'good');
    await expect(reader.ended).rejects.toMatchObject({ code: 'connection-lost', details: { reason: 'restarted' } });
    expect((await session.getVm('rolled-back'))?.state).toBe('running');
    expect(await io('rolled-back', 'read -P 1 0 4096')).not.toContain('fail');
    const console = await session.openConsole('rolled-back', { offset: heard });
    const after = new ConsoleReader(console);
    await console.write(Buffer.from('and on'));
    // It did not boot: what runs is the guest that ran.
    expect(await after.until('and on')).toBe('and on');
    expect((await snapshots.list('rolled-back')).map(({ name }) => name)).toEqual(['good']);
    await snapshots.remove('rolled-back', 'good');
    await snapshots.remove('rolled-back', 'good');
    expect(await snapshots.list('rolled-back')).toEqual([]);
    await session.destroyVm('rolled-back');
  });

  test('has one name, and goes with its VM', async () => {
    const { snapshots } = session;
    await talkingVm('snapped');
    await snapshots.create('snapped', 'one');
    await expect(snapshots.create('snapped', 'one')).rejects.toMatchObject({ code: 'conflict' });
    await expect(snapshots.create('snapped', 'a/b')).rejects.toMatchObject({ code: 'invalid-input' });
    await expect(snapshots.revert('snapped', 'two')).rejects.toMatchObject({ code: 'not-found' });
    await session.destroyVm('snapped');
    await expect(snapshots.list('snapped')).rejects.toMatchObject({ code: 'not-found' });
  });

  test('of a VM without a disk is not supported', async () => {
    await session.createVm(host.spec('diskless'));
    await expect(session.snapshots.create('diskless', 'one')).rejects.toMatchObject({ code: 'unsupported' });
    await session.destroyVm('diskless');
  });
});
