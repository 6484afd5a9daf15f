import type { Duplex } from 'node:stream';
import { abortedError, BringupError, limits, throwIfAborted, toBringupError } from '@bringup/core';
import type { CallOptions, Clock, Timer } from '@bringup/core';
import { CallSlots } from './call-slots.ts';
import { Keepalive } from './keepalive.ts';
import { encodePacket, PacketSplitter, packetStatus, packetType } from './packet.ts';
import type { Packet } from './packet.ts';
import { keepaliveProcedure, procedures, programs } from './procedures.ts';
import type { Procedure } from './procedures.ts';
import { protocolError } from './protocol-error.ts';
import { decodeRemoteError, fromRemoteError } from './remote-error.ts';
import { RpcStream } from './stream.ts';
import { XdrReader } from './xdr.ts';

/** Calls under way at once: the daemon reads no further at five. */
const maxCallsInFlight = 4;

/** Options of {@link RpcConnection}. */
export interface RpcConnectionOptions {
  readonly clock: Clock;
  /** Whom we talk to, for messages: `libvirt on build-7`. */
  readonly peer: string;
}

/** A call the daemon has not answered yet. */
interface OpenCall {
  readonly serial: number;
  readonly procedure: Procedure;
  /** Which the call opens. The daemon may send what comes on it before it answers. */
  readonly stream: RpcStream | undefined;
  /** Says whether anybody still waited for it. */
  settle(result: Answer | Error): boolean;
}

interface Answer {
  readonly body: XdrReader;
  readonly stream: RpcStream | undefined;
}

/** A stream with the reply of the call that opened it. */
export interface OpenedStream {
  readonly stream: RpcStream;
  readonly body: XdrReader;
}

const empty = new Uint8Array();

/**
 * A connection to libvirt's daemon: calls matched to replies by serial, streams, events, keepalive.
 * When it ends, for whatever reason, everything that waits on it fails with `connection-lost` at once.
 */
export class RpcConnection implements AsyncDisposable {
  /** Settles when the connection has ended, with the reason unless we ended it. Never rejects. */
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Duplex;
  readonly #options: RpcConnectionOptions;
  readonly #splitter = new PacketSplitter();
  readonly #slots = new CallSlots(maxCallsInFlight);
  readonly #open = new Map<number, OpenCall>();
  /** Calls not settled for their caller yet, sent or queued. */
  readonly #pending = new Set<(error: Error) => void>();
  readonly #streams = new Map<number, RpcStream>();
  readonly #listeners = new Set<(procedure: number, body: XdrReader) => void>();
  readonly #closedResolver = Promise.withResolvers<Error | undefined>();
  #keepalive: Keepalive | undefined;
  #serial = 0;
  #closing = false;
  #end: { readonly error: BringupError | undefined } | undefined;

  constructor(socket: Duplex, options: RpcConnectionOptions) {
    this.#socket = socket;
    this.#options = options;
    this.closed = this.#closedResolver.promise;
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#stop(this.#lost('broke', error)));
    socket.on('end', () => this.#stop(this.#lost('was closed by the daemon')));
    socket.on('close', () => this.#stop(this.#lost('was closed')));
  }

  /** Whom the connection leads to, for messages. */
  get peer(): string {
    return this.#options.peer;
  }

  #lost(how: string, cause?: unknown): BringupError {
    return new BringupError('connection-lost', `The connection to ${this.#options.peer} ${how}.`, {
      cause,
      retryable: true,
    });
  }

  /**
   * Calls a procedure.
   * @returns the reply's body.
   * @throws `deadline-exceeded` (default after `limits.hypervisorCallTimeoutMs`), `aborted`,
   * `unavailable` while `limits.hypervisorWaitingCalls` wait, `connection-lost`, or the daemon's error. A call that was given up may still take effect.
   */
  call(procedure: Procedure, args: Uint8Array = empty, options: CallOptions = {}): Promise<XdrReader> {
    return this.#call(procedure, args, options, false).then(({ body }) => body);
  }

  /** Calls a procedure that opens a stream. @throws as `call`. */
  async openStream(procedure: Procedure, args: Uint8Array, options: CallOptions = {}): Promise<OpenedStream> {
    const { stream, body } = await this.#call(procedure, args, options, true);
    if (stream === undefined) throw protocolError(`${procedure} was answered without a stream`);
    return { stream, body };
  }

  #call(procedure: Procedure, args: Uint8Array, options: CallOptions, stream: boolean): Promise<Answer> {
    const what = `${procedure} on ${this.#options.peer}`;
    const { signal, timeoutMs = limits.hypervisorCallTimeoutMs } = options;
    throwIfAborted(signal, what);
    if (this.#end !== undefined) return Promise.reject(this.#end.error ?? this.#lost('was closed'));
    if (this.#slots.waiting >= limits.hypervisorWaitingCalls) return Promise.reject(crowdedError(what));
    const serial = (this.#serial = (this.#serial + 1) >>> 0 || 1);
    return new Promise((resolve, reject) => {
      let leaveQueue = (): void => {};
      const done = (): void => {
        timer[Symbol.dispose]();
        signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(giveUp);
        leaveQueue();
      };
      const giveUp = (error: Error): void => {
        done();
        // What comes on it until the daemon answers is for nobody.
        this.#open.get(serial)?.stream?.discard();
        reject(error);
      };
      const onAbort = (): void => giveUp(abortedError(what, signal));
      const timer: Timer = this.#options.clock.timer(timeoutMs, () => giveUp(deadlineError(what, timeoutMs)));
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.add(giveUp);
      const settle = (result: Answer | Error): boolean => {
        // An answer nobody waits for any more only frees its slot.
        if (!this.#pending.has(giveUp)) return false;
        done();
        if (result instanceof Error) reject(result);
        else resolve(result);
        return true;
      };
      leaveQueue = this.#slots.enter(() => {
        this.#open.set(serial, {
          serial,
          procedure,
          settle,
          stream: stream ? this.#newStream(procedure, serial) : undefined,
        });
        this.#send({
          ...programs.remote,
          procedure: procedures[procedure],
          type: packetType.call,
          serial,
          status: packetStatus.ok,
          payload: args,
        });
      });
    });
  }

  /** Tells about every event of the hypervisor. The result stops it. */
  onEvent(listener: (procedure: number, body: XdrReader) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Starts to ping the daemon when it is silent. */
  startKeepalive(): void {
    if (this.#end !== undefined) return;
    this.#keepalive = new Keepalive({
      clock: this.#options.clock,
      intervalMs: limits.hypervisorKeepaliveIntervalMs,
      misses: limits.hypervisorKeepaliveMisses,
      ping: () => this.#sendKeepalive(keepaliveProcedure.ping),
      lost: (silentMs) => this.#stop(this.#lost(`has been silent for ${silentMs} ms`)),
    });
  }

  #sendKeepalive(procedure: number): void {
    this.#send({
      ...programs.keepalive,
      procedure,
      type: packetType.event,
      serial: 0,
      status: packetStatus.ok,
      payload: empty,
    });
  }

  #send(packet: Packet): boolean {
    return this.#socket.write(encodePacket(packet));
  }

  #receive(chunk: Buffer): void {
    this.#keepalive?.heard();
    try {
      for (const packet of this.#splitter.push(chunk)) this.#dispatch(packet);
    } catch (error) {
      this.#stop(this.#lost('is out of step', error));
    }
  }

  #dispatch(packet: Packet): void {
    if (this.#end !== undefined) return;
    if (packet.program === programs.keepalive.program) {
      const waiting = this.#socket.writableLength > limits.hypervisorUnreadBytes;
      if (packet.procedure === keepaliveProcedure.ping && !waiting) this.#sendKeepalive(keepaliveProcedure.pong);
    } else if (packet.type === packetType.reply) {
      this.#answer(packet);
    } else if (packet.type === packetType.stream) {
      this.#streams
        .get(packet.serial)
        ?.receive(packet.status, packet.payload, (payload) => this.#error(payload, 'A stream'));
    } else if (packet.type === packetType.event) {
      for (const listener of this.#listeners) listener(packet.procedure, new XdrReader(packet.payload));
    } else {
      // Holes are sent only to those who asked for sparse streams, which we never do.
      throw protocolError(`a packet has the type ${packet.type}`);
    }
  }

  #answer(packet: Packet): void {
    const call = this.#open.get(packet.serial);
    // The daemon also answers the abort of a stream this way; no call waits for it then.
    if (call === undefined) return;
    this.#open.delete(packet.serial);
    this.#slots.leave();
    const { stream } = call;
    if (packet.status !== packetStatus.ok) this.#streams.delete(call.serial);
    if (packet.status !== packetStatus.ok && packet.status !== packetStatus.error) {
      call.settle(protocolError(`a reply has the status ${packet.status}`));
      return;
    }
    if (packet.status === packetStatus.error) {
      call.settle(this.#error(packet.payload, `${call.procedure} on ${this.#options.peer}`));
      return;
    }
    stream?.answered();
    const wanted = call.settle({ body: new XdrReader(packet.payload), stream });
    // Whoever asked for it has given up: the daemon must not hold it for nobody.
    if (!wanted) stream?.abort().catch(() => {});
  }

  #error(payload: Uint8Array, what: string): BringupError {
    try {
      return fromRemoteError(decodeRemoteError(payload), what);
    } catch (error) {
      return toBringupError(error);
    }
  }

  #newStream(procedure: Procedure, serial: number): RpcStream {
    const stream = new RpcStream({
      send: (status, payload) =>
        this.#sendAndDrain({
          ...programs.remote,
          procedure: procedures[procedure],
          type: packetType.stream,
          serial,
          status,
          payload,
        }),
      pause: (paused) => {
        this.#keepalive?.suspend(paused);
        if (paused) this.#socket.pause();
        else this.#socket.resume();
      },
    });
    this.#streams.set(serial, stream);
    void stream.closed.then(() => this.#streams.delete(serial));
    return stream;
  }

  #sendAndDrain(packet: Packet): Promise<void> {
    if (this.#end !== undefined) return Promise.reject(this.#end.error ?? this.#lost('was closed'));
    if (this.#send(packet)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const onDrain = (): void => {
        this.#pending.delete(giveUp);
        resolve();
      };
      const giveUp = (error: Error): void => {
        this.#pending.delete(giveUp);
        this.#socket.off('drain', onDrain);
        reject(error);
      };
      this.#pending.add(giveUp);
      this.#socket.once('drain', onDrain);
    });
  }

  /** Ends the connection; `error` is undefined when we wanted it. */
  #stop(error: BringupError | undefined): void {
    if (this.#end !== undefined) return;
    // The daemon closes on our goodbye, often before its answer is through.
    const reported = this.#closing ? undefined : error;
    this.#end = { error: reported };
    this.#keepalive?.[Symbol.dispose]();
    this.#slots.clear();
    this.#open.clear();
    const reason = error ?? this.#lost('was closed');
    for (const giveUp of [...this.#pending]) giveUp(reason);
    for (const stream of this.#streams.values()) stream.fail(reason);
    this.#streams.clear();
    this.#listeners.clear();
    this.#socket.destroy();
    this.#closedResolver.resolve(reported);
  }

  /** Says goodbye to the daemon, briefly, and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#end !== undefined) return;
    this.#closing = true;
    // The daemon cleans up after a client that just leaves, too.
    await this.call('connectClose', empty, { timeoutMs: limits.hypervisorCloseTimeoutMs }).catch(() => {});
    this.#stop(undefined);
  }
}

function deadlineError(what: string, timeoutMs: number): BringupError {
  return new BringupError('deadline-exceeded', `${what} took longer than ${timeoutMs} ms`, {
    retryable: true,
    details: { timeoutMs },
  });
}

function crowdedError(what: string): BringupError {
  const limit = limits.hypervisorWaitingCalls;
  return new BringupError(
    'unavailable',
    `${limit} calls wait for their turn before ${what}: come again later, and ask less of it at a time`,
    { retryable: true, details: { limit } },
  );
}
