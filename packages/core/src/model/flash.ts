import type { StoredError } from '../errors.ts';
import type { FlashSlot } from './deployment.ts';

/**
 * How the flashed bytes were verified: read back from the medium, by the source's signature, by
 * the transport's own check, or not at all.
 */
export type FlashProof = 'readback' | 'source' | 'transport' | 'none';

/** What a flash did and what is proven of it. */
export interface FlashReceipt {
  readonly slot: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly verified: FlashProof;
}

/** A file and the slot it is flashed into. */
export interface FlashPart {
  readonly artifactId: string;
  readonly filename: string;
  readonly slot: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** The artifact with the image's block map, if there is one: the file of its name with `.bmap` at its end. */
  readonly blockMapId?: string;
}

/** What a board was flashed with last. */
export interface FirmwareRecord {
  readonly flashId: string;
  readonly version: string;
  readonly buildId?: string;
  readonly commitHash?: string;
  readonly deploymentId?: string;
  /** Milliseconds since the Unix epoch. */
  readonly flashedAt: number;
}

/** Flash a board, without booting it. */
export interface FlashRequest {
  /** Artifacts by id. They must be for the board's architecture. */
  readonly artifactIds: readonly string[];
  /** What goes where. Default as in a deployment. */
  readonly slots?: readonly FlashSlot[];
  /** Default: the commit, or the build's id. */
  readonly firmwareVersion?: string;
  readonly timeoutMs?: number;
  readonly priority?: number;
}

/** State of a flash. */
export type FlashStatus = 'queued' | 'flashing' | 'completed' | 'failed' | 'cancelled';

/** A flash of a board. Times are milliseconds since the Unix epoch. */
export interface Flash {
  readonly id: string;
  readonly boardId: string;
  readonly deploymentId?: string;
  readonly buildId?: string;
  readonly commitHash?: string;
  readonly firmwareVersion: string;
  readonly status: FlashStatus;
  readonly parts: readonly FlashPart[];
  /** What is proven of each slot, as far as it got. */
  readonly receipts: readonly FlashReceipt[];
  /** Tries, the first included. */
  readonly attempts: number;
  /** Of all parts, in this try. */
  readonly transferredBytes: number;
  readonly totalBytes: number;
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly errorMessage?: string;
  readonly error?: StoredError;
  readonly createdAt: number;
}
