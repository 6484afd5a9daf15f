import { duplexPair } from 'node:stream';
import type { Duplex } from 'node:stream';
import { encodePacket, PacketSplitter, packetStatus, packetType } from '../src/rpc/packet.ts';
import type { Packet } from '../src/rpc/packet.ts';
import { procedures, programs } from '../src/rpc/procedures.ts';
import type { Procedure } from '../src/rpc/procedures.ts';
import { XdrWriter } from '../src/rpc/xdr.ts';

/** A daemon in this process: it speaks the protocol and answers what a test tells it to. */
export class FakeDaemon {
  /** The client's end. */
  readonly client: Duplex;
  readonly #socket: Duplex;
  readonly #splitter = new PacketSplitter();
  readonly #received: Packet[] = [];
  #wake = Promise.withResolvers<void>();
  #answer: ((call: Packet) => Uint8Array | undefined) | undefined;

  constructor() {
    [this.client, this.#socket] = duplexPair();
    this.#socket.on('data', (chunk: Buffer) => {
      for (const packet of this.#splitter.push(chunk)) this.#receive(packet);
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    });
    this.#socket.on('error', () => {});
  }

  #receive(packet: Packet): void {
    if (this.#answer === undefined || packet.type !== packetType.call) this.#received.push(packet);
    else {
      const payload = this.#answer(packet);
      if (payload !== undefined) this.reply(packet, payload);
    }
  }

  /** From now on calls are not kept to be taken but answered with what `answer` says, if anything. */
  serve(answer: (call: Packet) => Uint8Array | undefined): void {
    this.#answer = answer;
  }

  /** Packets that came in and were not taken yet. */
  get waiting(): number {
    return this.#received.length;
  }

  /** The next packet from the client. */
  async take(): Promise<Packet> {
    for (;;) {
      const packet = this.#received.shift();
      if (packet !== undefined) return packet;
      await this.#wake.promise;
    }
  }

  send(packet: Partial<Packet>): void {
    const nothing = new Uint8Array();
    const defaults = {
      ...programs.remote,
      procedure: 0,
      type: packetType.reply,
      serial: 0,
      status: packetStatus.ok,
      payload: nothing,
    };
    this.#socket.write(encodePacket({ ...defaults, ...packet }));
  }

  /** Answers a call. */
  reply(call: Packet, payload: Uint8Array = new Uint8Array()): void {
    this.send({ procedure: call.procedure, serial: call.serial, payload });
  }

  /** Refuses a call as libvirt does. */
  refuse(call: Packet, code: number, message: string, type: number = packetType.reply): void {
    const error = new XdrWriter().i32(code).i32(10);
    error
      .optional(message, (text) => error.string(text))
      .i32(2)
      .u32(0)
      .u32(0)
      .u32(0)
      .u32(0)
      .i32(0)
      .i32(0)
      .u32(0);
    this.send({
      procedure: call.procedure,
      serial: call.serial,
      type,
      status: packetStatus.error,
      payload: error.bytes(),
    });
  }

  /** Sends a piece of a stream. */
  stream(call: Packet, status: number, text: string | Uint8Array = ''): void {
    this.send({
      procedure: call.procedure,
      serial: call.serial,
      type: packetType.stream,
      status,
      payload: typeof text === 'string' ? Buffer.from(text) : text,
    });
  }

  raw(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** Closes the connection from the daemon's side. */
  close(): void {
    this.#socket.end();
  }
}

/** Whether a packet calls that procedure. */
export function calls(packet: Packet, procedure: Procedure): boolean {
  return packet.type === packetType.call && packet.procedure === procedures[procedure];
}
