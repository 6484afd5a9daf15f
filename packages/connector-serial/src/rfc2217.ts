import type { Socket } from 'node:net';
import { BringupError, isBringupError, limits, sleep, type Clock } from '@bringup/core';
import type { Carrier, CarrierSink } from './carrier.ts';
import type { LineSettings } from './device.ts';
import { telnetOption } from './telnet-codec.ts';
import { TelnetCarrier } from './telnet.ts';

/** Commands of the com port option (RFC 2217, section 3); a server answers with the same number plus 100. */
const command = { BAUD: 1, DATA_BITS: 2, PARITY: 3, STOP_BITS: 4, CONTROL: 5, PURGE: 12 } as const;
const fromServer = 100;
const suspend = 108;
const resume = 109;

/** Values of {@link command}.CONTROL. */
const control = {
  flow: { none: 1, software: 2, hardware: 3 },
  breakOn: 5,
  breakOff: 6,
  dtr: { on: 8, off: 9 },
  rts: { on: 11, off: 12 },
} as const;

const parities = { none: 1, odd: 2, even: 3, mark: 4, space: 5 } as const;
const stopBits = { 1: 1, 2: 2, 1.5: 3 } as const;
/** What has come in but was not sent on yet. */
const purgeReceived = 1;

/** A line behind an RFC 2217 server, with its baud rate, its framing and its breaks. */
export class Rfc2217Carrier implements Carrier {
  readonly #telnet: TelnetCarrier;
  readonly #clock: Clock;
  readonly #answers = new Map<number, number>();
  #suspended = false;
  #closed = new AbortController();

  constructor(socket: Socket, clock: Clock) {
    this.#clock = clock;
    this.#telnet = new TelnetCarrier(socket, { onComPort: (payload) => this.#hear(payload) });
  }

  /**
   * Agrees on the option and sets the line up; what the server said meanwhile is forgotten.
   * @throws `console-busy`, `unsupported` when the server speaks plain telnet, `connection-failed`.
   */
  async setUp(baudRate: number, settings: LineSettings, signal: AbortSignal): Promise<void> {
    try {
      await this.#telnet.greeting(this.#clock, signal);
      this.#telnet.propose();
      await this.#agree(signal);
      await this.#telnet.settle(this.#clock, signal);
      const wanted = [
        [command.BAUD, baudRate],
        [command.DATA_BITS, settings.dataBits],
        [command.PARITY, parities[settings.parity]],
        [command.STOP_BITS, stopBits[settings.stopBits]],
      ] as const;
      for (const [what, value] of wanted)
        await this.#telnet.sendComPort(what === command.BAUD ? [what, ...bigEndian(value)] : [what, value]);
      // Servers that can't do a control don't answer, so nobody waits for those.
      await this.#control(control.flow[settings.flow]);
      if (settings.dtr !== undefined) await this.#control(control.dtr[settings.dtr ? 'on' : 'off']);
      if (settings.rts !== undefined) await this.#control(control.rts[settings.rts ? 'on' : 'off']);
      await this.#telnet.until(() => wanted.every(([what]) => this.#answers.has(what)), signal);
      for (const [what, value] of wanted) this.#check(what, value);
      await this.#purge(stopBits[settings.stopBits], signal);
      this.#telnet.forgetEarly();
    } catch (error) {
      // A server that hangs up may do so at any step, while we write too.
      if (isBringupError(error) && error.code !== 'connection-lost') throw error;
      throw refusal(this.#telnet.early, error);
    }
  }

  attach(sink: CarrierSink): void {
    this.#telnet.attach(sink);
  }

  pause(): void {
    this.#telnet.pause();
  }

  resume(): void {
    this.#telnet.resume();
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#telnet.until(() => !this.#suspended, this.#closed.signal);
    await this.#telnet.write(bytes);
  }

  async sendBreak(): Promise<void> {
    await this.#control(control.breakOn);
    try {
      await sleep(this.#clock, limits.serialBreakMs, this.#closed.signal);
    } finally {
      await this.#control(control.breakOff);
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    await this.#telnet.close();
  }

  /** Some servers take our offer, some make theirs; either will do. */
  async #agree(signal: AbortSignal): Promise<void> {
    const { options } = this.#telnet;
    const { COM_PORT } = telnetOption;
    await this.#telnet.until(() => options.ours(COM_PORT) !== 'asked' || options.theirs(COM_PORT) === 'yes', signal);
    if (options.ours(COM_PORT) === 'yes' || options.theirs(COM_PORT) === 'yes') return;
    throw new BringupError('unsupported', 'the server speaks telnet but not RFC 2217; use telnet:// for this console');
  }

  /**
   * Drops what the line has said so far. Not every server answers that, but servers do one thing after the
   * other: the answer to what was asked next means that what is heard from then on is kept.
   */
  async #purge(stop: number, signal: AbortSignal): Promise<void> {
    this.#answers.delete(command.STOP_BITS);
    await this.#telnet.sendComPort([command.PURGE, purgeReceived]);
    await this.#telnet.sendComPort([command.STOP_BITS, stop]);
    await this.#telnet.until(() => this.#answers.has(command.STOP_BITS), signal);
  }

  async #control(value: number): Promise<void> {
    await this.#telnet.sendComPort([command.CONTROL, value]);
  }

  #hear(payload: Uint8Array): void {
    const [what = 0, ...value] = payload;
    if (what === suspend || what === resume) this.#suspended = what === suspend;
    else
      this.#answers.set(
        what - fromServer,
        value.reduce((sum, byte) => sum * 256 + byte, 0),
      );
  }

  #check(what: number, wanted: number): void {
    const is = this.#answers.get(what);
    if (is === wanted) return;
    const name = Object.entries(command)
      .find(([, value]) => value === what)?.[0]
      .toLowerCase()
      .replace('_', ' ');
    throw new BringupError(
      'connection-failed',
      `the server did not set the ${name} as wanted: it says ${is} instead of ${wanted} (as RFC 2217 counts)`,
      { details: { setting: name ?? null, wanted, got: is ?? null } },
    );
  }
}

/** A server that hangs up says why in plain words, such as ser2net's "Port's device already in use". */
function refusal(said: string, cause: unknown): BringupError {
  const words = said.trim().slice(0, limits.serialErrorBytes);
  const quoted = words === '' ? 'nothing' : words;
  const code = /in use|busy|already/i.test(words) ? 'console-busy' : 'connection-failed';
  const meaning = code === 'console-busy' ? 'somebody else holds the console' : 'the server hung up';
  return new BringupError(code, `${meaning}; it says: ${quoted}`, { cause, retryable: true, details: { said: words } });
}

function bigEndian(value: number): number[] {
  return [(value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}
