import type { CallOptions } from './runtime.ts';

/**
 * The console of a VM or a board: raw bytes both ways. Expecting, logging and shells live above it,
 * in the consoles room, so every console has them whatever carries it.
 */
export interface Console extends AsyncDisposable {
  /**
   * What the machine says, byte for byte, in order. May be iterated once. Ends when the machine or
   * its console goes away for good; throws `connection-lost` when only the way to it broke.
   */
  readonly output: AsyncIterable<Uint8Array>;
  /** Sends bytes to the machine. @throws `console-closed`, `connection-lost`. */
  write(data: Uint8Array, options?: CallOptions): Promise<void>;
  /** Sends a serial break; absent where the carrier can't. @throws `unsupported` where the device turns out not to. */
  sendBreak?(): Promise<void>;
}

/** Which serial console. */
export interface ConsoleTarget {
  /** Name of the machine, for messages. */
  readonly name: string;
  /** As the connector names it: a device such as `/dev/ttyUSB0`, or a URL such as `rfc2217://exporter:4001`. */
  readonly device: string;
  /** Bits per second. */
  readonly baudRate: number;
}

/** Reaches the serial consoles of boards. */
export interface ConsoleConnector extends AsyncDisposable {
  /** Name by which boards refer to it, such as `serial`. */
  readonly name: string;
  /**
   * Opens a console; its output begins now. One reader and writer at a time.
   * @throws `connection-failed`, `console-busy`, `not-found`, `dependency-missing`, `deadline-exceeded`, `aborted`.
   */
  open(target: ConsoleTarget, options?: CallOptions): Promise<Console>;
}
