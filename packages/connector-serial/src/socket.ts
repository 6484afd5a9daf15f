import { once } from 'node:events';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { BringupError, limits } from '@bringup/core';
import type { Carrier, CarrierSink } from './carrier.ts';

/** Connects. The caller destroys the socket. @throws `connection-failed`, or the signal's reason. */
export async function openSocket(where: NetConnectOpts, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const socket = connect(where);
  try {
    await once(socket, 'connect', { signal });
  } catch (error) {
    socket.destroy();
    signal.throwIfAborted();
    const { message, code } = error as NodeJS.ErrnoException;
    throw new BringupError('connection-failed', `can’t connect: ${message}`, {
      cause: error,
      retryable: code !== 'EACCES',
    });
  }
  // Keys are typed one by one: none waits for the next.
  socket.setNoDelay(true);
  socket.setKeepAlive(true, limits.serialKeepaliveMs);
  return socket;
}

/** The bytes of a socket as they are: `tcp://` and `unix://`. */
export class SocketCarrier implements Carrier {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  attach(sink: CarrierSink): void {
    let cause: unknown = new Error('the other side closed the connection');
    this.#socket.on('error', (error) => (cause = error));
    this.#socket.once('close', () => sink.lost(cause));
    this.#socket.on('end', () => this.#socket.destroy());
    this.#socket.on('data', (bytes) => sink.data(bytes));
    // It may have closed before somebody listened.
    if (this.#socket.destroyed) sink.lost(cause);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  write(bytes: Uint8Array): Promise<void> {
    return writeTo(this.#socket, bytes);
  }

  async close(): Promise<void> {
    await closeSocket(this.#socket);
  }
}

/** Writes; resolves when the system has taken the bytes. */
export function writeTo(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error == null ? resolve() : reject(error)));
  });
}

/** Sends what is waiting, then closes for good. */
export async function closeSocket(socket: Socket): Promise<void> {
  if (socket.destroyed) return;
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {});
  socket.destroySoon();
  socket.resume();
  await closed;
}
