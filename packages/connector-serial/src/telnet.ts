import type { Socket } from 'node:net';
import { BringupError, limits, sleep, type Clock } from '@bringup/core';
import type { Carrier, CarrierSink } from './carrier.ts';
import { closeSocket, writeTo } from './socket.ts';
import { encodeSubnegotiation, encodeTelnet, TelnetDecoder, telnetOption } from './telnet-codec.ts';
import { TelnetOptions } from './telnet-options.ts';

const { BINARY, ECHO, SUPPRESS_GO_AHEAD, COM_PORT } = telnetOption;

/** What a {@link TelnetCarrier} is told besides its socket. */
export interface TelnetCarrierOptions {
  /** Gets subnegotiations of the com port option (RFC 2217); without it the option is refused. */
  readonly onComPort?: (payload: Uint8Array) => void;
}

/** A line behind a telnet server: `telnet://`, and what `rfc2217://` is built on. */
export class TelnetCarrier implements Carrier {
  readonly options: TelnetOptions;
  readonly #socket: Socket;
  readonly #decoder = new TelnetDecoder();
  readonly #onComPort: ((payload: Uint8Array) => void) | undefined;
  #sink: CarrierSink | undefined;
  /** What came before anybody was attached, the latest of it. */
  #early: Uint8Array[] = [];
  #earlyBytes = 0;
  /** Answers to the chunk that is being heard, sent as one. */
  #answers: Uint8Array[] | undefined;
  #heard = false;
  #lost: { readonly cause: unknown } | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(socket: Socket, { onComPort }: TelnetCarrierOptions = {}) {
    this.#socket = socket;
    this.#onComPort = onComPort;
    const comPort = onComPort === undefined ? [] : [COM_PORT];
    this.options = new TelnetOptions(
      { ours: [BINARY, SUPPRESS_GO_AHEAD, ...comPort], theirs: [BINARY, SUPPRESS_GO_AHEAD, ECHO, ...comPort] },
      (bytes) => this.#answer(bytes),
    );
    let cause: unknown = new Error('the other side closed the connection');
    socket.on('error', (error) => (cause = error));
    socket.on('end', () => socket.destroy());
    socket.once('close', () => this.#lose(cause));
    socket.on('data', (chunk) => this.#hear(chunk));
    if (socket.destroyed) this.#lose(cause);
  }

  /** What the other side said so far that nobody was attached for. */
  get early(): string {
    return Buffer.concat(this.#early).toString('latin1');
  }

  /**
   * Waits a moment for the server to speak first: one that turns us away hangs up, and what was sent
   * to it by then would take its words away.
   */
  async greeting(clock: Clock, signal: AbortSignal): Promise<void> {
    await this.#within(limits.serialGreetingMs, () => this.#heard || this.#lost !== undefined, clock, signal);
  }

  /** Proposes what a console needs: binary both ways, and no waiting for go-aheads. */
  propose(): void {
    this.options.offer(BINARY);
    this.options.ask(BINARY);
    this.options.ask(SUPPRESS_GO_AHEAD);
    if (this.#onComPort !== undefined) this.options.offer(COM_PORT);
  }

  /**
   * Waits until both directions of binary are answered: in between, neither side knows how the other
   * means a CR. A server that does not negotiate at all is not waited for longer than
   * `limits.serialTelnetAnswerMs`.
   */
  async settle(clock: Clock, signal: AbortSignal): Promise<void> {
    const answered = (): boolean => this.options.ours(BINARY) !== 'asked' && this.options.theirs(BINARY) !== 'asked';
    await this.#within(limits.serialTelnetAnswerMs, answered, clock, signal);
  }

  /** Waits until something that was heard made `condition` true. @throws `connection-lost`, the signal's reason. */
  async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    const wake = (): void => this.#notify();
    signal.addEventListener('abort', wake);
    try {
      while (!condition()) {
        signal.throwIfAborted();
        if (this.#lost !== undefined) {
          throw new BringupError('connection-lost', 'the server closed the connection', {
            cause: this.#lost.cause,
            retryable: true,
          });
        }
        await this.#changed.promise;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }

  /** Forgets what came before anybody was attached. */
  forgetEarly(): void {
    this.#early = [];
    this.#earlyBytes = 0;
  }

  /** Sends a command of the com port option. */
  async sendComPort(payload: readonly number[]): Promise<void> {
    await this.#send(encodeSubnegotiation(COM_PORT, payload));
  }

  attach(sink: CarrierSink): void {
    this.#sink = sink;
    for (const bytes of this.#early.splice(0)) sink.data(bytes);
    if (this.#lost !== undefined) sink.lost(this.#lost.cause);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#send(encodeTelnet(bytes, this.options.ours(BINARY) === 'yes'));
  }

  async close(): Promise<void> {
    await closeSocket(this.#socket);
  }

  /** Waits for a condition, but no longer than so much. */
  async #within(patienceMs: number, condition: () => boolean, clock: Clock, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    try {
      await Promise.race([this.until(condition, both), sleep(clock, patienceMs, both)]);
    } finally {
      over.abort();
    }
  }

  #send(bytes: Uint8Array): Promise<void> {
    return writeTo(this.#socket, bytes);
  }

  /** A server that asks without end and reads no answer must not fill the memory with them. */
  #answer(bytes: Uint8Array): void {
    if (this.#socket.destroyed) return;
    if (this.#answers !== undefined) {
      this.#answers.push(bytes);
      return;
    }
    if (this.#socket.writableLength > limits.serialUnreadAnswerBytes) {
      this.#socket.destroy(new Error('the server asks for options without end, and reads no answer'));
      return;
    }
    void this.#send(bytes).catch(() => {});
  }

  /** The answers that are waited for come behind what the line says, so that can't wait: the oldest goes. */
  #keep(data: Uint8Array): void {
    this.#early.push(data);
    this.#earlyBytes += data.length;
    while (this.#earlyBytes > limits.serialBufferBytes && this.#early.length > 1) {
      this.#earlyBytes -= this.#early.shift()?.length ?? 0;
    }
  }

  #hear(chunk: Uint8Array): void {
    this.#heard = true;
    this.#decoder.binary = this.options.theirs(BINARY) === 'yes';
    const { data, commands } = this.#decoder.decode(chunk);
    const answers: Uint8Array[] = (this.#answers = []);
    for (const command of commands) {
      if (command.verb !== 'sub') this.options.hear(command);
      else if (command.option === COM_PORT) this.#onComPort?.(command.payload);
    }
    this.#answers = undefined;
    if (answers.length > 0) this.#answer(Buffer.concat(answers));
    if (data.length > 0) {
      if (this.#sink === undefined) this.#keep(data);
      else this.#sink.data(data);
    }
    this.#notify();
  }

  #lose(cause: unknown): void {
    this.#lost = { cause };
    this.#sink?.lost(cause);
    this.#notify();
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
