import { protocolError } from './protocol-error.ts';

/** What a packet is, libvirt's virNetMessageType. */
export const packetType = { call: 0, reply: 1, event: 2, stream: 3, streamHole: 6 } as const;

/** How a packet ends its matter, libvirt's virNetMessageStatus. */
export const packetStatus = { ok: 0, error: 1, continue: 2 } as const;

/** Largest packet: VIR_NET_MESSAGE_MAX and the length word, which it does not count. */
export const maxPacketBytes: number = 32 * 1024 * 1024 + 4;

/** Largest piece of a stream, VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX less a header. */
export const maxStreamBytes = 262_120;

const headerBytes = 28;

/** A packet without its length word (libvirt: src/rpc/virnetprotocol.x). */
export interface Packet {
  readonly program: number;
  readonly version: number;
  readonly procedure: number;
  readonly type: number;
  readonly serial: number;
  readonly status: number;
  readonly payload: Uint8Array;
}

/** The packet's bytes with its length word. */
export function encodePacket(packet: Packet): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + packet.payload.length);
  bytes.writeUInt32BE(bytes.length, 0);
  bytes.writeUInt32BE(packet.program, 4);
  bytes.writeUInt32BE(packet.version, 8);
  bytes.writeInt32BE(packet.procedure, 12);
  bytes.writeInt32BE(packet.type, 16);
  bytes.writeUInt32BE(packet.serial, 20);
  bytes.writeInt32BE(packet.status, 24);
  bytes.set(packet.payload, headerBytes);
  return bytes;
}

function decodePacket(bytes: Buffer): Packet {
  return {
    program: bytes.readUInt32BE(4),
    version: bytes.readUInt32BE(8),
    procedure: bytes.readInt32BE(12),
    type: bytes.readInt32BE(16),
    serial: bytes.readUInt32BE(20),
    status: bytes.readInt32BE(24),
    payload: bytes.subarray(headerBytes),
  };
}

/** Cuts a byte stream into packets, however it was chopped on its way. */
export class PacketSplitter {
  #chunks: Uint8Array[] = [];
  #buffered = 0;
  #wanted = 4;

  /**
   * Packets that are complete with this chunk.
   * @throws `hypervisor-failed` for a length no packet can have; the stream is then out of step for good.
   */
  push(chunk: Uint8Array): Packet[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    if (this.#buffered < this.#wanted) return [];
    const bytes =
      this.#chunks.length === 1
        ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
        : Buffer.concat(this.#chunks);
    const packets: Packet[] = [];
    let at = 0;
    this.#wanted = 4;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at);
      if (length < headerBytes || length > maxPacketBytes) {
        throw protocolError(`a packet claims to be ${length} bytes long`);
      }
      if (bytes.length - at < length) {
        this.#wanted = length;
        break;
      }
      packets.push(decodePacket(bytes.subarray(at, at + length)));
      at += length;
    }
    this.#chunks = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#buffered = bytes.length - at;
    return packets;
  }
}
