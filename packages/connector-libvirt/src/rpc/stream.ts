import { limits } from '@bringup/core';
import { maxStreamBytes, packetStatus } from './packet.ts';
import { protocolError } from './protocol-error.ts';

/** What a stream needs of its connection. */
export interface StreamCarrier {
  /** Sends a packet of the stream; resolves when the connection takes more. */
  send(status: number, payload: Uint8Array): Promise<void>;
  /** Stops or goes on reading from the connection. */
  pause(paused: boolean): void;
}

/** Unread bytes at which reading from the daemon stops, so that back-pressure reaches the guest. */
const highWaterBytes = 1024 * 1024;

/**
 * A libvirt stream: bytes both ways under the serial of the call that opened it. libvirt has no
 * flow control per stream, so a stream that is not read stops its whole connection: give each
 * stream a connection of its own.
 */
export class RpcStream {
  readonly #carrier: StreamCarrier;
  readonly #chunks: Buffer[] = [];
  #bufferedBytes = 0;
  #answered = false;
  #paused = false;
  #discarding = false;
  #wake: (() => void) | undefined;
  #end: { readonly error: Error | undefined } | undefined;
  readonly #closed = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<Error | undefined>();

  /** Settles when the daemon will send no more: undefined at the end, else why. Never rejects. */
  readonly ended: Promise<Error | undefined> = this.#ended.promise;
  /** Settles when the daemon has let go of the stream, or the connection is gone. Never rejects. */
  readonly closed: Promise<void> = this.#closed.promise;

  constructor(carrier: StreamCarrier) {
    this.#carrier = carrier;
  }

  /** For the connection: the call that opens the stream has been answered. Until then all that comes is read, for the answer is behind it. */
  answered(): void {
    this.#answered = true;
    this.#setPaused(this.#bufferedBytes >= highWaterBytes);
  }

  /** For the connection: a packet came in. @throws when too much comes without the answer. */
  receive(status: number, payload: Uint8Array, decodeError: (payload: Uint8Array) => Error): void {
    if (status === packetStatus.continue && payload.length > 0) {
      this.#push(Buffer.from(payload.buffer, payload.byteOffset, payload.length));
    } else if (status === packetStatus.error) {
      this.fail(decodeError(payload));
    } else {
      this.#finish(undefined);
      if (status === packetStatus.ok) this.#closed.resolve();
    }
  }

  /** For the connection: nothing more will come. */
  fail(error: Error): void {
    this.#finish(error);
    this.#closed.resolve();
  }

  #finish(error: Error | undefined): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#ended.resolve(error);
    this.#wake?.();
  }

  #push(chunk: Buffer): void {
    if (this.#end !== undefined || this.#discarding) return;
    this.#chunks.push(chunk);
    this.#bufferedBytes += chunk.length;
    if (!this.#answered && this.#bufferedBytes > limits.hypervisorEarlyStreamBytes) {
      throw protocolError(`a stream has sent ${this.#bufferedBytes} bytes, and its call has no answer`);
    }
    this.#setPaused(this.#bufferedBytes >= highWaterBytes);
    this.#wake?.();
  }

  #setPaused(paused: boolean): void {
    if (!this.#answered || paused === this.#paused) return;
    this.#paused = paused;
    this.#carrier.pause(paused);
  }

  /** Drops what came and what will come. */
  discard(): void {
    this.#discarding = true;
    this.#chunks.length = 0;
    this.#bufferedBytes = 0;
    this.#setPaused(false);
    this.#wake?.();
  }

  /** What the daemon sends, in order. One reader. @throws what the stream failed with. */
  async *read(): AsyncGenerator<Buffer, void> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#bufferedBytes -= chunk.length;
        this.#setPaused(this.#bufferedBytes >= highWaterBytes);
        yield chunk;
      } else if (this.#discarding) {
        return;
      } else if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }

  /** Sends bytes; resolves when the connection takes more. */
  async write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += maxStreamBytes) {
      await this.#carrier.send(packetStatus.continue, data.subarray(at, at + maxStreamBytes));
    }
  }

  /** Tells the daemon that we are through, and waits until it is. @throws what the stream failed with. */
  async finish(): Promise<void> {
    if (this.#end?.error === undefined) {
      await this.#carrier.send(packetStatus.ok, new Uint8Array());
      await this.closed;
    }
    if (this.#end?.error !== undefined) throw this.#end.error;
  }

  /** Asks the daemon to end the stream; `closed` tells when it has. */
  async abort(): Promise<void> {
    this.discard();
    await this.#carrier.send(packetStatus.error, new Uint8Array());
  }
}
