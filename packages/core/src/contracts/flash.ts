import type { Architecture } from '../model/architecture.ts';
import type { BlockMap } from '../model/block-map.ts';
import type { FlashProof, FlashReceipt } from '../model/flash.ts';
import type { CallOptions } from './runtime.ts';
import type { ByteSource, TransferProgress } from './shell.ts';

export type { FlashProof, FlashReceipt };

/** Bytes to flash and where to. */
export interface FlashImage {
  readonly bytes: ByteSource;
  /** Partition, slot or device as the station names it. */
  readonly slot: string;
  /** What of them has to be written. A station that knows no block maps writes everything. */
  readonly blockMap?: BlockMap;
}

/** Options of {@link FlashStation.flash}. */
export interface FlashOptions extends CallOptions {
  /** Hears how much was written so far, and of the last byte. */
  readonly onProgress?: (progress: TransferProgress) => void;
}

/** What a slot should hold. */
export interface FlashExpectation {
  readonly slot: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** What of the image it was flashed with: what lies between the ranges may be anything. */
  readonly blockMap?: BlockMap;
}

/** Writes firmware to one board. */
export interface FlashStation extends AsyncDisposable {
  /**
   * Writes an image and verifies it as far as the method can. An abort stops writing: the slot is
   * then in an unknown state and must be flashed again.
   * @throws `flash-failed`, `checksum-mismatch`, `connection-lost`, `aborted`, `deadline-exceeded`.
   */
  flash(image: FlashImage, options?: FlashOptions): Promise<FlashReceipt>;
  /**
   * Reads a slot back and says whether it holds these bytes; absent where the method can't read.
   * @throws `flash-failed`, `connection-lost`, `aborted`, `deadline-exceeded`.
   */
  verify?(expected: FlashExpectation, options?: CallOptions): Promise<boolean>;
}

/** Which board is flashed, and by which station. */
export interface FlashTarget {
  /** The station as the board's registration names it: an address, a device, a name the connector knows. */
  readonly stationId: string;
  readonly board: {
    readonly id: string;
    readonly name: string;
    readonly boardType: string;
    readonly architecture: Architecture;
  };
  /**
   * Cuts the board's power and gives it back, for a station that has to restart it: how the lab does it, and kept in
   * the board's power history when it is part of a flash. Absent where a person switches it, and when nothing is flashed.
   * @throws `power-failed`, `aborted`.
   */
  readonly powerCycle?: (options?: Pick<CallOptions, 'signal'>) => Promise<void>;
}

/** Reaches flash stations. */
export interface FlashConnector extends AsyncDisposable {
  /** Name by which boards refer to it. */
  readonly name: string;
  /** @throws `invalid-input`, `not-found`, `connection-failed`, `authentication-failed`, `deadline-exceeded`, `aborted`. */
  open(target: FlashTarget, options?: CallOptions): Promise<FlashStation>;
}
