import { BringupError, limits, sleep, type Clock } from '@bringup/core';
import type { SerialPort } from 'serialport';
import type { Carrier, CarrierSink } from './carrier.ts';
import type { LineSettings } from './device.ts';

/** A tty of this machine, through the `serialport` package. */
export class TtyCarrier implements Carrier {
  readonly #port: SerialPort;
  readonly #clock: Clock;
  readonly #closed = new AbortController();

  private constructor(port: SerialPort, clock: Clock) {
    this.#port = port;
    this.#clock = clock;
  }

  /** @throws `dependency-missing` without `serialport`; `not-found`, `console-busy`, `connection-failed`. */
  static async open(path: string, baudRate: number, settings: LineSettings, clock: Clock): Promise<TtyCarrier> {
    const { SerialPort: Port } = await loadSerialPort();
    const { dataBits, parity, stopBits, flow } = settings;
    const port = new Port({
      path,
      baudRate,
      dataBits,
      parity,
      stopBits,
      rtscts: flow === 'hardware',
      xon: flow === 'software',
      xoff: flow === 'software',
      lock: true,
      // A hang-up lowers DTR, which resets some boards.
      hupcl: false,
      autoOpen: false,
    });
    await call((done) => port.open(done)).catch((error: unknown) => {
      throw openError(path, error);
    });
    const carrier = new TtyCarrier(port, clock);
    try {
      const { dtr, rts } = settings;
      if (dtr !== undefined || rts !== undefined) {
        await call((done) => port.set({ ...(dtr !== undefined && { dtr }), ...(rts !== undefined && { rts }) }, done));
      }
      // What came in while nobody listened is not what the machine says now.
      await call((done) => port.flush(done));
    } catch (error) {
      await carrier.close();
      throw openError(path, error);
    }
    return carrier;
  }

  attach(sink: CarrierSink): void {
    let cause: unknown = new Error('the device is gone');
    this.#port.on('error', (error) => (cause = error));
    this.#port.once('close', (error: Error | null) => sink.lost(error ?? cause));
    this.#port.on('data', (bytes: Buffer) => sink.data(bytes));
  }

  pause(): void {
    this.#port.pause();
  }

  resume(): void {
    this.#port.resume();
  }

  write(bytes: Uint8Array): Promise<void> {
    return call((done) => this.#port.write(Buffer.from(bytes), (error) => done(error ?? null)));
  }

  async sendBreak(): Promise<void> {
    try {
      await call((done) => this.#port.set({ brk: true }, done));
    } catch (error) {
      throw new BringupError('unsupported', `this device can’t send a break: ${messageOf(error)}`, { cause: error });
    }
    try {
      await sleep(this.#clock, limits.serialBreakMs, this.#closed.signal);
    } finally {
      await call((done) => this.#port.set({ brk: false }, done));
    }
  }

  async close(): Promise<void> {
    this.#closed.abort();
    if (this.#port.isOpen) await call((done) => this.#port.close(done));
  }
}

/** Loaded when the first tty is opened: who has none needs no native code. */
async function loadSerialPort(): Promise<typeof import('serialport')> {
  try {
    return await import('serialport');
  } catch (error) {
    throw new BringupError(
      'dependency-missing',
      `ttys of this machine need the package "serialport": install it beside @bringup/connector-serial (${messageOf(error)})`,
      { cause: error, details: { dependency: 'serialport' } },
    );
  }
}

function openError(path: string, error: unknown): BringupError {
  const message = messageOf(error);
  const details = { device: path };
  if (/No such file|ENOENT/.test(message)) {
    return new BringupError('not-found', `there is no device ${path}; is it plugged in?`, { cause: error, details });
  }
  if (/lock|busy|temporarily unavailable/i.test(message)) {
    return new BringupError('console-busy', `another program holds ${path}: ${message}`, {
      cause: error,
      retryable: true,
      details,
    });
  }
  const hint = /Permission denied/.test(message) ? '; is this account in the device’s group (dialout)?' : '';
  return new BringupError('connection-failed', `can’t open ${path}: ${message}${hint}`, { cause: error, details });
}

function call(act: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => act((error) => (error == null ? resolve() : reject(error))));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
