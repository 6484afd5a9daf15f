import type { ResourceKind } from './resource.ts';

/** What a group decides over its members. What is left out is left to groups of lower priority. */
export interface AllocationPolicy {
  /** Reservations of all members together, at the same time. */
  readonly maxConcurrentAllocations?: number;
  /** VMs on each member at the same time, hosts only. */
  readonly maxVmsPerHost?: number;
  /** Only for these teams. Empty: for all. */
  readonly reservedForTeams?: readonly string[];
  /** Points added to the priority of requests that name the group. Default 0. */
  readonly priorityBoost?: number;
  /** A requester needs an approval before the first allocation. */
  readonly requireApproval?: boolean;
}

/** Make a group. */
export interface ResourceGroupRequest {
  /** Unique. */
  readonly name: string;
  readonly description?: string;
  readonly resourceType: ResourceKind;
  /** Resources with all these labels belong to it. Default: none do by their labels. */
  readonly labels?: Readonly<Record<string, string>>;
  /** These belong to it whatever their labels. */
  readonly memberIds?: readonly string[];
  readonly allocationPolicy?: AllocationPolicy;
  /** Of groups that state the same thing differently, the highest decides; equals by their age. Default 0. */
  readonly priority?: number;
}

/** A group. Times are milliseconds since the Unix epoch. */
export interface ResourceGroup {
  readonly id: string;
  readonly name: string;
  readonly description?: string;
  readonly resourceType: ResourceKind;
  readonly labels: Readonly<Record<string, string>>;
  readonly allocationPolicy: AllocationPolicy;
  readonly priority: number;
  readonly memberIds: readonly string[];
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** The sum over a group's members. */
export interface GroupStatistics {
  readonly members: number;
  /** Members to which something new may be allocated, room aside. */
  readonly available: number;
  readonly capacity: GroupAmounts;
  readonly used: GroupAmounts;
  /** Share of the slots that are taken, 0…1. */
  readonly utilization: number;
  /** How the workload is spread: what each member carries, the busiest first. */
  readonly workload: readonly {
    readonly resourceId: string;
    readonly name: string;
    readonly slots: number;
    readonly load: number;
  }[];
}

/** Amounts of what resources have. */
export interface GroupAmounts {
  readonly slots: number;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly storageGb: number;
}

/** A requester's wish to use a group. */
export interface GroupApproval {
  readonly id: string;
  readonly groupId: string;
  readonly requester: string;
  readonly team?: string;
  readonly state: 'wanted' | 'approved' | 'denied';
  readonly requestedAt: number;
  /** From then on it is as if it had not been: a wish has to be made again, an approval given again. */
  readonly expiresAt: number;
  readonly decidedAt?: number;
  readonly decidedBy?: string;
  readonly reason?: string;
}

/** A policy's word on one allocation. */
export interface PolicyDecision {
  readonly seq: number;
  readonly at: number;
  /** The group whose policy decided. */
  readonly groupId: string;
  readonly policy: keyof AllocationPolicy;
  readonly resourceId: string;
  readonly requester?: string;
  readonly team?: string;
  readonly allowed: boolean;
  readonly reason: string;
}
