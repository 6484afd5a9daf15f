import type { ResourceKind } from './resource.ts';

/** `scheduled` until it begins, `active` until it ends; one that never began can be `cancelled`. */
export type MaintenanceState = 'scheduled' | 'active' | 'ended' | 'cancelled';

/** A time in which a resource takes nothing new. Times are milliseconds since the Unix epoch. */
export interface MaintenanceWindow {
  readonly id: string;
  readonly resourceId: string;
  readonly kind: ResourceKind;
  /** Name of the resource. */
  readonly name: string;
  readonly startsAt: number;
  /** Absent for maintenance that lasts until somebody ends it. */
  readonly endsAt?: number;
  readonly reason: string;
  readonly state: MaintenanceState;
  /** What the pool has less of meanwhile: all that the resource has. */
  readonly capacity: MaintenanceCapacity;
}

/** Capacity that maintenance takes away. */
export interface MaintenanceCapacity {
  /** Builds, VMs or tests at the same time. */
  readonly slots: number;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly storageGb: number;
}

/** Ask for a maintenance window: of some resources, or of all that are in a group when it is asked for. */
export interface MaintenanceRequest {
  readonly resourceIds?: readonly string[];
  readonly groupId?: string;
  /** Milliseconds since the Unix epoch. */
  readonly startsAt: number;
  readonly endsAt: number;
  /** Shown to whoever wonders. Default empty. */
  readonly reason?: string;
}
