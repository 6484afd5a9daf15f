import type { StoredError } from './errors.ts';
import type { AlertSeverity, AlertType } from './model/alert.ts';
import type { Architecture } from './model/architecture.ts';
import type { ResourceKind } from './model/resource.ts';
import type { VmAction } from './model/vm.ts';
import type { WorkKind } from './model/work.ts';

/** What every event about a work item carries. */
export interface WorkEvent {
  readonly id: string;
  /** The work item that started this one, such as a build's pipeline. */
  readonly parentId?: string;
  /** What it is doing now, in the words of its kind, such as `transferring`. */
  readonly phase?: string;
  /** Why it failed or was cancelled. */
  readonly error?: StoredError;
}

/** What every event about an action on a deployed VM carries. */
export interface VmActionEvent {
  /** Of its deployment. */
  readonly id: string;
  readonly environmentId: string;
  readonly hostId: string;
  /** Its name on the host. */
  readonly vm: string;
  /** Who asked for it. */
  readonly by: string;
  /** Why, for a person. */
  readonly reason: string;
  /** Why it failed; after `aborted` and `deadline-exceeded` it may have been done all the same. */
  readonly error?: StoredError;
}

/**
 * What can happen to a work item. `waiting`: for capacity. `recovered`: the process that worked on it
 * died; it goes on from where it was.
 */
export type WorkVerb = 'queued' | 'started' | 'waiting' | 'recovered' | 'phase' | 'succeeded' | 'failed' | 'cancelled';

/**
 * Everything that is told, by name. Names are `noun:verb`. All of these are stored: a listener that
 * was away reads them again from its cursor.
 */
export interface EventMap
  extends Record<`${WorkKind}:${WorkVerb}`, WorkEvent>, Record<`vm:${VmAction}`, VmActionEvent> {
  'resource:registered': { readonly id: string; readonly kind: ResourceKind; readonly name: string };
  'resource:updated': { readonly id: string; readonly kind: ResourceKind; readonly name: string };
  'resource:removed': { readonly id: string; readonly kind: ResourceKind; readonly name: string };
  /** The health of a resource changed. `status` as stored: online, degraded, offline, flashing, recovery or unknown. */
  'resource:status': {
    readonly id: string;
    readonly kind: ResourceKind;
    readonly name: string;
    readonly from: string;
    readonly status: string;
    readonly reason: string;
  };
  'group:created': { readonly id: string; readonly name: string };
  'group:updated': { readonly id: string; readonly name: string };
  'group:removed': { readonly id: string; readonly name: string };
  'approval:wanted': { readonly id: string; readonly groupId: string; readonly requester: string };
  'approval:approved': { readonly id: string; readonly groupId: string; readonly requester: string };
  'approval:denied': { readonly id: string; readonly groupId: string; readonly requester: string };
  /** Maintenance of a resource began or ended. */
  'resource:maintenance': {
    readonly id: string;
    readonly kind: ResourceKind;
    readonly name: string;
    readonly on: boolean;
  };
  'alert:raised': {
    readonly id: string;
    readonly type: AlertType;
    readonly severity: AlertSeverity;
    readonly subject: string;
  };
  'alert:acknowledged': { readonly id: string; readonly by: string };
  'alert:resolved': { readonly id: string; readonly subject: string; readonly resolution: string };
  'reservation:granted': {
    readonly id: string;
    readonly resourceId: string;
    readonly holder: string;
    readonly fence: number;
  };
  /** A request fits nothing now and waits for its turn. The id becomes that of its reservation. */
  'reservation:waiting': {
    readonly id: string;
    readonly kind: ResourceKind;
    readonly architecture: Architecture;
    readonly holder: string;
  };
  /** A request waits no longer, and got nothing. */
  'reservation:withdrawn': { readonly id: string; readonly holder: string };
  'reservation:released': { readonly id: string; readonly resourceId: string; readonly holder: string };
  'reservation:expired': { readonly id: string; readonly resourceId: string; readonly holder: string };
  'artifact:stored': {
    readonly id: string;
    readonly producerId: string;
    readonly filename: string;
    readonly sha256: string;
    readonly sizeBytes: number;
  };
  /** Its stored bytes are wrong or missing: it is not served until they are stored again. */
  'artifact:corrupted': { readonly id: string; readonly sha256: string };
  /** The right bytes were stored again. */
  'artifact:healed': { readonly id: string; readonly sha256: string };
  /** The artifacts of a build, boot or test run were removed. Its record stays. */
  'artifact:removed': { readonly producerId: string; readonly artifacts: number };
  /** The artifact storage is full: new builds wait. `freeBytes` where that can be known. */
  'storage:full': { readonly freeBytes?: number; readonly neededBytes?: number };
  /** The artifact storage has room again. */
  'storage:room': { readonly freeBytes?: number };
}

/** Name of an event. */
export type EventName = keyof EventMap;

/** An event as it is stored and delivered. */
export type LabEvent<N extends EventName = EventName> = {
  [K in N]: {
    /** Position in the feed; pass the last one seen as the cursor to go on after it. */
    readonly seq: number;
    /** Milliseconds since the Unix epoch. */
    readonly at: number;
    readonly name: K;
    /** Id of what it is about. */
    readonly subject: string;
    readonly data: EventMap[K];
  };
}[N];

/**
 * Bytes on the move. Told to listeners in this process only, and not stored: too many, and of no
 * use a second later.
 */
export interface TransferReport {
  /** The work item that moves them. */
  readonly workId: string;
  /** Name of the file. */
  readonly filename: string;
  /** `upload`: to a target; `download`: from one. */
  readonly direction: 'upload' | 'download';
  readonly transferredBytes: number;
  readonly totalBytes: number;
}
