import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { ConsoleContractFixture } from '@bringup/core/testing';
import { serial } from '../../src/index.ts';
import { TelnetDecoder, encodeTelnet, type TelnetCommand } from '../../src/telnet-codec.ts';

/** What a {@link LineServer} speaks, and how it may misbehave. */
export interface LineServerOptions {
  readonly protocol: 'tcp' | 'telnet' | 'rfc2217';
  /** Options the server refuses. */
  readonly refuses?: readonly number[];
  /** Answers a com port command (number, value) with another value; undefined: not at all. */
  readonly answer?: (command: number, value: number) => number | undefined;
  /** Said to whoever connects, then the connection is closed. */
  readonly rejectsWith?: string;
}

const IAC = 255;
const WILL = 251;
const WONT = 252;
const DO = 253;
const DONT = 254;
const BREAK_ON = 5;

/** One serial line behind a TCP port, as a terminal server has it. What the line says to nobody is lost. */
export class LineServer implements AsyncDisposable {
  /** Com port commands in order: number and value. */
  readonly commands: (readonly [number, number])[] = [];
  breaks = 0;
  readonly #options: LineServerOptions;
  readonly #server: Server;
  readonly #received: Uint8Array[] = [];
  #changed = Promise.withResolvers<void>();
  #client: Socket | undefined;
  #binary = { ours: false, theirs: false };

  private constructor(options: LineServerOptions) {
    this.#options = options;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(options: LineServerOptions): Promise<LineServer> {
    const server = new LineServer(options);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get device(): string {
    return `${this.#options.protocol}://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get received(): Buffer {
    return Buffer.concat(this.#received);
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await this.#changed.promise;
  }

  say(bytes: Uint8Array): void {
    const { protocol } = this.#options;
    this.#client?.write(protocol === 'tcp' ? bytes : encodeTelnet(bytes, this.#binary.ours));
  }

  /** Sends bytes as they are. */
  send(...bytes: number[]): void {
    this.#client?.write(Uint8Array.from(bytes));
  }

  cut(): void {
    this.#client?.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    const { protocol, rejectsWith } = this.#options;
    socket.on('error', () => {});
    if (rejectsWith !== undefined) {
      socket.resume().end(rejectsWith);
      return;
    }
    this.#client = socket;
    socket.once('close', () => {
      if (this.#client === socket) this.#client = undefined;
    });
    this.#binary = { ours: false, theirs: false };
    // As ser2net does, it speaks first.
    if (protocol !== 'tcp') this.send(IAC, WILL, 3);
    if (protocol === 'rfc2217' && this.#options.refuses?.includes(44) !== true) this.send(IAC, DO, 44);
    const decoder = new TelnetDecoder();
    socket.on('data', (chunk) => {
      if (protocol === 'tcp') this.#take(chunk);
      else {
        decoder.binary = this.#binary.theirs;
        const { data, commands } = decoder.decode(chunk);
        for (const command of commands) this.#hear(command);
        this.#take(data);
      }
    });
  }

  #take(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#received.push(Uint8Array.from(bytes));
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  #hear(command: TelnetCommand): void {
    if (command.verb === 'sub') {
      const [what = 0, ...value] = command.payload;
      this.#comPort(
        what,
        value.reduce((sum, byte) => sum * 256 + byte, 0),
      );
      return;
    }
    const { verb, option } = command;
    const known = option === 0 || option === 3 || (option === 44 && this.#options.protocol === 'rfc2217');
    const accepts = known && this.#options.refuses?.includes(option) !== true;
    // What it asked for itself is not answered again.
    if (verb === 'will' && option === 44 && accepts) return;
    if (verb === 'will') this.send(IAC, accepts ? DO : DONT, option);
    else if (verb === 'do') this.send(IAC, accepts ? WILL : WONT, option);
    if (option === 0 && accepts && verb === 'will') this.#binary.theirs = true;
    if (option === 0 && accepts && verb === 'do') this.#binary.ours = true;
  }

  #comPort(what: number, value: number): void {
    this.commands.push([what, value]);
    if (what === 5 && value === BREAK_ON) this.breaks += 1;
    const answer = this.#options.answer === undefined ? value : this.#options.answer(what, value);
    if (answer === undefined) return;
    const bytes = what === 1 ? [answer >>> 24, answer >>> 16, answer >>> 8, answer] : [answer];
    const payload = bytes.map((byte) => byte & 0xff).flatMap((byte) => (byte === IAC ? [byte, byte] : [byte]));
    this.send(IAC, 250, 44, what + 100, ...payload, IAC, 240);
  }
}

/** A {@link LineServer} for the console contract. */
export async function lineServerFixture(options: LineServerOptions): Promise<ConsoleContractFixture> {
  const server = await LineServer.start(options);
  const connector = serial();
  const target = { name: 'board1', device: server.device, baudRate: 115_200 };
  return {
    open: (call) => connector.open(target, call),
    say: (bytes) => server.say(bytes),
    received: async (count) => {
      await server.until(() => server.received.length >= count);
      return server.received;
    },
    cut: () => server.cut(),
    ...(options.protocol === 'rfc2217' && {
      breaks: async () => {
        await server.until(() => server.breaks > 0);
        return server.breaks;
      },
    }),
    dispose: async () => {
      await connector[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}
