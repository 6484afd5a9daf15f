import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodePacket, maxPacketBytes, PacketSplitter } from '../src/rpc/packet.ts';
import type { Packet } from '../src/rpc/packet.ts';

const packets = fc.array(
  fc.record({
    program: fc.integer({ min: 0, max: 0xffff_ffff }),
    version: fc.integer({ min: 0, max: 0xffff_ffff }),
    procedure: fc.integer(),
    type: fc.integer(),
    serial: fc.integer({ min: 0, max: 0xffff_ffff }),
    status: fc.integer(),
    payload: fc.uint8Array({ maxLength: 200 }),
  }),
  { minLength: 1, maxLength: 6 },
);

function split(splitter: PacketSplitter, bytes: Uint8Array, sizes: readonly number[]): Packet[] {
  const found: Packet[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length] ?? 1;
    found.push(...splitter.push(bytes.subarray(at, at + size)));
    at += size;
  }
  return found;
}

describe('packets', () => {
  test('come out as they went in, however the stream is chopped', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(packets, sizes, (sent, chunkSizes) => {
        const got = split(new PacketSplitter(), Buffer.concat(sent.map(encodePacket)), chunkSizes);
        expect(got.map((packet) => ({ ...packet, payload: new Uint8Array(packet.payload) }))).toEqual(sent);
      }),
      { numRuns: 300 },
    );
  });

  test.for([0, 27, maxPacketBytes + 1, 0xffff_ffff])('a packet of %i bytes is refused at once', (length) => {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(length);
    expect(() => new PacketSplitter().push(word)).toThrow(/claims to be/);
  });

  test('a million one-byte chunks of one large packet are put together in linear time', { timeout: 10_000 }, () => {
    const payload = Buffer.alloc(1_000_000, 7);
    const bytes = encodePacket({ program: 1, version: 1, procedure: 1, type: 1, serial: 1, status: 0, payload });
    const [packet] = split(new PacketSplitter(), bytes, [1]);
    expect(Buffer.compare(packet?.payload ?? Buffer.alloc(0), payload)).toBe(0);
  });
});
