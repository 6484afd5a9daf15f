import { createHash } from 'node:crypto';
import { limits, systemClock } from '@bringup/core';
import type { ByteSource, Clock, TransferProgress } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Daemon } from '../src/daemon.ts';
import { packetStatus, packetType } from '../src/rpc/packet.ts';
import type { Packet } from '../src/rpc/packet.ts';
import { procedures } from '../src/rpc/procedures.ts';
import { XdrReader, XdrWriter } from '../src/rpc/xdr.ts';
import { receiveVolume, sendVolume } from '../src/volume-transfer.ts';
import type { TransferParts } from '../src/volume-transfer.ts';
import { FakeDaemon } from './fake-daemon.ts';

const volume = { pool: 'images', name: 'disk', key: '/images/disk' };
/** The end of a connection is told in the next turn. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** What a volume of a daemon in this process does with what is sent to it. */
interface Behaviour {
  /** The bytes as they are stored. */
  readonly store?: (bytes: Buffer) => Buffer;
  /** Refuses the upload once so many bytes have come. */
  readonly refuseAfter?: number;
  /** Neither takes nor gives anything. */
  readonly hangs?: boolean;
  /** The bytes that a download brings at most. */
  readonly mostBytes?: number;
  /** Never tells that a download has ended. */
  readonly endless?: boolean;
}

/** A volume, and how many of the connections to it are open. */
class FakeVolume {
  bytes: Uint8Array = new Uint8Array();
  open = 0;
  readonly #behaviour: Behaviour;

  constructor(behaviour: Behaviour = {}) {
    this.#behaviour = behaviour;
  }

  parts(clock: Clock = systemClock): TransferParts {
    return {
      clock,
      openLine: async () => {
        const daemon = new FakeDaemon();
        daemon.serve((call) => this.#answer(daemon, call));
        this.open += 1;
        daemon.client.once('close', () => (this.open -= 1));
        const peer = 'libvirt on testhost';
        const options = {
          clock,
          peer,
          uri: 'qemu:///system',
          keepalive: false,
          account: undefined,
          confidential: true,
        };
        return Daemon.open(daemon.client, options);
      },
    };
  }

  #answer(daemon: FakeDaemon, call: Packet): Uint8Array | undefined {
    if (call.procedure === procedures.authList) return new XdrWriter().u32(0).bytes();
    if (call.procedure === procedures.storageVolUpload) void this.#take(daemon, call);
    // After the reply.
    if (call.procedure === procedures.storageVolDownload) setImmediate(() => void this.#give(daemon, call));
    return new Uint8Array();
  }

  async #take(daemon: FakeDaemon, call: Packet): Promise<void> {
    const pieces: Uint8Array[] = [];
    for (;;) {
      const packet = await daemon.take();
      if (packet.status === packetStatus.error) return;
      if (packet.status === packetStatus.ok) break;
      pieces.push(Uint8Array.from(packet.payload));
      const { refuseAfter = Infinity } = this.#behaviour;
      if (Buffer.concat(pieces).length > refuseAfter) {
        daemon.refuse(call, 38, 'cannot write: No space left on device', packetType.stream);
        return;
      }
    }
    if (this.#behaviour.hangs === true) return;
    const sent = Buffer.concat(pieces);
    this.bytes = this.#behaviour.store?.(sent) ?? sent;
    daemon.stream(call, packetStatus.ok);
  }

  async #give(daemon: FakeDaemon, call: Packet): Promise<void> {
    const { hangs = false, endless = false, mostBytes = Infinity } = this.#behaviour;
    if (hangs) return;
    const args = new XdrReader(call.payload);
    const asked = { pool: args.string(), name: args.string(), key: args.string() };
    if (asked.name !== volume.name) throw new Error(`There is no volume ${asked.name}.`);
    const offset = Number(args.u64());
    const bytes = this.bytes.subarray(offset, offset + Math.min(Number(args.u64()), mostBytes));
    for (let at = 0; at < bytes.length; at += 1000) {
      daemon.send({
        procedure: call.procedure,
        serial: call.serial,
        type: packetType.stream,
        status: packetStatus.continue,
        payload: bytes.subarray(at, at + 1000),
      });
    }
    if (!endless) daemon.stream(call, packetStatus.continue);
    await daemon.take();
    daemon.stream(call, packetStatus.ok);
  }
}

function source(bytes: Uint8Array, sizes: readonly number[] = [4096]): ByteSource {
  return {
    sizeBytes: bytes.length,
    async *read() {
      for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1;
        yield bytes.subarray(at, at + size);
        at += size;
      }
    },
  };
}

async function whole(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const list: Uint8Array[] = [];
  for await (const chunk of chunks) list.push(chunk);
  return Buffer.concat(list);
}

describe('an upload to a volume', () => {
  test('of any bytes in any pieces arrives as it is, is read back and leaves no connection open', async () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), sizes, async (bytes, pieces) => {
        const fake = new FakeVolume();
        const progress: TransferProgress[] = [];
        const onProgress = (now: TransferProgress): void => void progress.push(now);
        const receipt = await sendVolume(fake.parts(), volume, source(bytes, pieces), { onProgress });
        expect(receipt).toEqual({ sizeBytes: bytes.length, sha256: sha256(bytes) });
        expect(Buffer.compare(fake.bytes, bytes)).toBe(0);
        expect(progress.at(-1)).toEqual({ transferredBytes: bytes.length, totalBytes: bytes.length });
        expect(Buffer.compare(await whole(receiveVolume(fake.parts(), volume, bytes.length, {})), bytes)).toBe(0);
        await nextTurn();
        expect(fake.open).toBe(0);
      }),
      { numRuns: 100 },
    );
  });

  test('that is stored with one bit changed is found out', async () => {
    const fake = new FakeVolume({
      store: (bytes) => {
        const changed = Buffer.from(bytes);
        changed[10_000] = (changed[10_000] ?? 0) ^ 1;
        return changed;
      },
    });
    await expect(sendVolume(fake.parts(), volume, source(Buffer.alloc(20_000)), {})).rejects.toMatchObject({
      code: 'checksum-mismatch',
      retryable: true,
    });
  });

  test('that the daemon refuses half-way fails with what it says, although the source has no end', async () => {
    const fake = new FakeVolume({ refuseAfter: 10_000 });
    const endless: ByteSource = {
      sizeBytes: 2 ** 40,
      async *read() {
        for (;;) yield Buffer.alloc(4096);
      },
    };
    await expect(sendVolume(fake.parts(), volume, endless, {})).rejects.toThrow('No space left');
    await nextTurn();
    expect(fake.open).toBe(0);
  });

  test.for(['the source', 'the daemon'] as const)('during which %s stands still is given up', async (who) => {
    const clock = fakeClock();
    const began = clock.now();
    const fake = new FakeVolume({ hangs: who === 'the daemon' });
    const bytes = Buffer.alloc(10);
    const stuck: ByteSource = {
      sizeBytes: bytes.length,
      async *read() {
        if (who === 'the source') await new Promise(() => {});
        yield bytes;
      },
    };
    const upload = sendVolume(fake.parts(clock), volume, stuck, {});
    await expect(clock.runUntil(upload)).rejects.toMatchObject({ code: 'deadline-exceeded', retryable: true });
    expect(clock.now() - began).toBeGreaterThanOrEqual(limits.transferStallMs);
  });
});

describe('a download of a volume', () => {
  test('with another checksum than was promised does not end as if all were well', async () => {
    const fake = new FakeVolume();
    fake.bytes = Buffer.from('bytes');
    const promised = sha256(Buffer.from('others'));
    await expect(whole(receiveVolume(fake.parts(), volume, 5, { sha256: promised }))).rejects.toMatchObject({
      code: 'checksum-mismatch',
    });
  });

  test('whose end is never told is over with its last byte', async () => {
    const fake = new FakeVolume({ endless: true });
    fake.bytes = Buffer.from('bytes');
    expect((await whole(receiveVolume(fake.parts(), volume, 5, {}))).toString('utf8')).toBe('bytes');
    await nextTurn();
    expect(fake.open).toBe(0);
  });

  test('of nothing asks for nothing', async () => {
    const fake = new FakeVolume({ hangs: true });
    expect(await whole(receiveVolume(fake.parts(), volume, 0, {}))).toHaveLength(0);
    expect(fake.open).toBe(0);
  });

  test('that ends before its bytes have come fails, so that nobody takes a part for the whole', async () => {
    for (const mostBytes of [0, 4]) {
      const fake = new FakeVolume({ mostBytes });
      fake.bytes = Buffer.from('bytes');
      await expect(whole(receiveVolume(fake.parts(), volume, 5, {}))).rejects.toMatchObject({
        code: 'transfer-failed',
        retryable: true,
      });
      await nextTurn();
      expect(fake.open).toBe(0);
    }
  });

  test('whose reader leaves closes its connection', async () => {
    const fake = new FakeVolume();
    fake.bytes = Buffer.alloc(50_000);
    for await (const _ of receiveVolume(fake.parts(), volume, 50_000, {})) break;
    await nextTurn();
    expect(fake.open).toBe(0);
  });

  test('that is aborted ends with aborted and closes its connection', async () => {
    const fake = new FakeVolume({ hangs: true });
    const controller = new AbortController();
    const reading = whole(receiveVolume(fake.parts(), volume, 1, { signal: controller.signal }));
    setImmediate(() => controller.abort());
    await expect(reading).rejects.toMatchObject({ code: 'aborted' });
    await nextTurn();
    expect(fake.open).toBe(0);
  });
});
