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
  /** Sends a serial break where the carrier can; absent where it can't. */
  sendBreak?(): Promise<void>;
}
