import type { ErrorCode } from '../errors.ts';
import type { Role } from './role.ts';
import type { WorkKind } from './work.ts';

/**
 * `ok`: nothing to do. `degraded`: it works, but somebody should look. `failed`: this process can't do its part.
 */
export type LabCondition = 'ok' | 'degraded' | 'failed';

/** Something that is wrong with the lab itself. */
export interface LabTrouble {
  /** How bad it is. */
  readonly condition: Exclude<LabCondition, 'ok'>;
  /** Which part of {@link LabStatus} it is about. */
  readonly part: 'store' | 'work' | 'health' | 'recovery' | 'events' | 'waiting' | 'artifacts' | 'alerts';
  /** For a person: what is wrong, and what to do. */
  readonly message: string;
}

/**
 * Whether a lab can do its work, as seen from one process. Times are milliseconds since the Unix epoch. What is
 * read from the database is absent while that is out of reach. Counts end at `limits.statusRows`.
 */
export interface LabStatus {
  /** The worst of all troubles. */
  readonly condition: LabCondition;
  /** What is wrong, the worst first. */
  readonly troubles: readonly LabTrouble[];
  readonly checkedAt: number;
  /** This process. */
  readonly process: {
    /** What it was started to do. */
    readonly roles: readonly Role[];
    /** When it opened the lab. */
    readonly openedAt: number;
  };
  readonly store: {
    readonly reachable: boolean;
    /** How long one small read took. */
    readonly latencyMs: number;
    /** Why it is out of reach. */
    readonly error?: ErrorCode;
  };
  readonly work: {
    /** Work items that this process runs now, and the most that it runs at a time. */
    readonly running: number;
    readonly concurrency: number;
    /** When the leases of its work were last renewed; absent while it was not started to do any. */
    readonly renewedAt?: number;
    /** Work items that this process found to have lost their process, since it opened the lab. */
    readonly takeovers: number;
    /** Items of the whole lab that are ready to be run. */
    readonly queued?: number;
    /** The one that has been ready and never started for longest. */
    readonly oldestQueued?: { readonly kind: WorkKind; readonly id: string; readonly ageMs: number };
  };
  readonly health: {
    /** Parts of the resources that this process watches. */
    readonly shardsHeld: number;
    /** Resources that it watches. */
    readonly watched: number;
    /** Those of them whose last look is longer ago than `limits.healthIntervalMs`. */
    readonly late: number;
    /** Parts that any process watches, and how many there are. */
    readonly shardsWatched?: number;
    readonly shards: number;
  };
  readonly recovery?: {
    /** How long the upkeep that is due first has been due; 0 when none is. */
    readonly overdueMs: number;
  };
  readonly events?: {
    /** Events that are committed and that this process has not told its listeners yet. */
    readonly lag: number;
  };
  readonly waiting?: {
    /** Requests that wait for a resource. */
    readonly requests: number;
    /** How long the first of them has waited. */
    readonly oldestMs?: number;
  };
  readonly artifacts: {
    readonly reachable: boolean;
    /** Bytes that can still be stored, where that can be known. */
    readonly freeBytes?: number;
    /** Since when it has been full; absent while it has room, as far as is known. */
    readonly fullSince?: number;
    /** Why it is out of reach. */
    readonly error?: ErrorCode;
  };
  readonly alerts?: {
    /** Alerts that nobody took note of. */
    readonly open: number;
    /** Of the newest `limits.statusDeliveries` deliveries of alerts, those that were given up. */
    readonly undelivered: number;
  };
}
