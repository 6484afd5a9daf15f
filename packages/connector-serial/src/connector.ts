import {
  isBringupError,
  BringupError,
  invalidInput,
  limits,
  systemClock,
  withDeadline,
  type CallOptions,
  type Clock,
  type Console,
  type ConsoleConnector,
  type ConsoleTarget,
} from '@bringup/core';
import type { Carrier } from './carrier.ts';
import { SerialConsole } from './console.ts';
import { parseDevice, type DeviceAddress } from './device.ts';
import { ExporterCarrier, type SerialExporter } from './exporter.ts';
import { Rfc2217Carrier } from './rfc2217.ts';
import { openSocket, SocketCarrier } from './socket.ts';
import { TelnetCarrier } from './telnet.ts';
import { TtyCarrier } from './tty.ts';

/** Options of the connector. */
export interface SerialOptions {
  /** Name by which boards refer to it. Default `serial`. */
  readonly name?: string;
  /** Machines whose ttys are reached as `exporter://NAME/dev/…`. Default: none. */
  readonly exporters?: Readonly<Record<string, SerialExporter>>;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
}

/** Opens consoles, whatever carries them; each device once at a time. */
export class SerialConnector implements ConsoleConnector {
  readonly name: string;
  readonly #exporters: Readonly<Record<string, SerialExporter>>;
  readonly #clock: Clock;
  readonly #taken = new Set<string>();
  readonly #open = new Set<Console>();
  #disposed = false;

  constructor({ name = 'serial', exporters = {}, clock = systemClock }: SerialOptions) {
    this.name = name;
    this.#exporters = exporters;
    this.#clock = clock;
  }

  async open(target: ConsoleTarget, options: CallOptions = {}): Promise<Console> {
    if (this.#disposed) throw new TypeError('the serial connector has been disposed');
    const address = parseDevice(target.device);
    const place = placeOf(address);
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
    const what = `opening ${target.device} of ${target.name}`;
    return withDeadline(this.#clock, what, bounded, async (signal) => {
      if (this.#taken.has(place)) {
        throw new BringupError('console-busy', `the console of ${target.name} is held by somebody else here`, {
          retryable: true,
          details: { device: target.device },
        });
      }
      this.#taken.add(place);
      try {
        return await this.#opened(target, place, await this.#carrier(address, target, signal), signal);
      } catch (error) {
        this.#taken.delete(place);
        throw error;
      }
    });
  }

  /** Closes every console it has opened. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all([...this.#open].map((console) => console[Symbol.asyncDispose]()));
  }

  async #opened({ name }: ConsoleTarget, place: string, carrier: Carrier, signal: AbortSignal): Promise<Console> {
    if (signal.aborted || this.#disposed) {
      // Whoever asked has gone.
      await carrier.close().catch(() => {});
      signal.throwIfAborted();
    }
    const console: SerialConsole = new SerialConsole({
      name,
      carrier,
      clock: this.#clock,
      onFree: () => {
        if (this.#open.delete(console)) this.#taken.delete(place);
      },
    });
    this.#open.add(console);
    console.start();
    return console;
  }

  async #carrier(address: DeviceAddress, { baudRate }: ConsoleTarget, signal: AbortSignal): Promise<Carrier> {
    switch (address.type) {
      case 'tty':
        return TtyCarrier.open(address.path, baudRate, address.settings, this.#clock);
      case 'unix':
        return new SocketCarrier(await openSocket({ path: address.path }, signal));
      case 'tcp':
        return new SocketCarrier(await openSocket(address, signal));
      case 'telnet': {
        const telnet = new TelnetCarrier(await openSocket(address, signal));
        return closedOnFailure(telnet, async () => {
          telnet.propose();
          await telnet.settle(this.#clock, signal);
        });
      }
      case 'rfc2217': {
        const open = async (): Promise<Carrier> => {
          const carrier = new Rfc2217Carrier(await openSocket(address, signal), this.#clock);
          return closedOnFailure(carrier, () => carrier.setUp(baudRate, address.settings, signal));
        };
        return open().catch((error: unknown) => {
          // Why it hung up may have been lost, since we were writing: it says so again.
          if (isBringupError(error, 'connection-failed') && error.details['said'] === '') return open();
          throw error;
        });
      }
      case 'exporter': {
        const exporter = this.#exporters[address.exporter];
        if (exporter !== undefined) {
          return ExporterCarrier.open(exporter, address.path, baudRate, address.settings, signal);
        }
        const known = Object.keys(this.#exporters).join(', ') || 'none';
        throw invalidInput('Console', [
          { path: 'device', message: `there is no exporter ${address.exporter}; there are: ${known}` },
        ]);
      }
    }
  }
}

async function closedOnFailure(carrier: Carrier, act: () => Promise<void>): Promise<Carrier> {
  try {
    await act();
    return carrier;
  } catch (error) {
    await carrier.close();
    throw error;
  }
}

/** What may be held once, however its settings are written. */
function placeOf(address: DeviceAddress): string {
  switch (address.type) {
    case 'tty':
    case 'unix':
      return address.path;
    case 'exporter':
      return `${address.exporter}:${address.path}`;
    default:
      return `${address.host}:${address.port}`;
  }
}
