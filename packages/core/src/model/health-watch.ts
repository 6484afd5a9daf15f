import type { StoredError } from '../errors.ts';
import type { BoardHealth, MachineHealth, ResourceUtilization } from './health.ts';
import type { ResourceKind } from './resource.ts';

/**
 * When something about a resource is worth a warning. A field that is absent is decided further away:
 * resource, then its group, then its kind, then the defaults in `limits`. `null`: never.
 */
export interface HealthThresholds {
  /** Free space of the workspace's file system. Default: 10 for build servers, otherwise null. */
  readonly minFreeStorageGb?: number | null;
  /** Whether a resource with less takes no new work. Default false. */
  readonly blockOnLowStorage?: boolean;
  /** Of CPU, memory and storage each. Default: 85 for hosts, otherwise null. */
  readonly maxUtilizationPercent?: number | null;
  /** Whether a resource above that takes no new work. Default true. */
  readonly blockOnHighUtilization?: boolean;
  /** Default 85. */
  readonly maxTemperatureCelsius?: number | null;
  /** Of the workspace's file system. Default: 90 for boards, otherwise null. */
  readonly maxStoragePercent?: number | null;
  /** Default 1500 for boards, otherwise null. */
  readonly maxResponseTimeMs?: number | null;
}

/** Whom thresholds are for: one resource, the members of a group, or all of a kind. */
export type ThresholdScope =
  { readonly resourceId: string } | { readonly groupId: string } | { readonly kind: ResourceKind };

/** What is wrong with a resource that answers. */
export type HealthCondition =
  'low-storage' | 'high-utilization' | 'temperature' | 'storage-full' | 'connectivity' | 'power' | 'hypervisor';

/** What a look at a resource found. */
export interface HealthReport {
  readonly resourceId: string;
  readonly kind: ResourceKind;
  /** As stored after the look: online, degraded, offline, unknown, flashing or recovery. */
  readonly status: string;
  /** Whether it answered this look. */
  readonly reachable: boolean;
  /** Milliseconds since the Unix epoch. */
  readonly checkedAt: number;
  readonly conditions: readonly HealthCondition[];
  readonly utilization?: ResourceUtilization;
  readonly health?: MachineHealth | BoardHealth;
  /** Why it did not answer. */
  readonly error?: StoredError;
}

/** How fine a history is: every look, or averages over a minute or an hour. */
export type HealthResolution = 'raw' | 'minute' | 'hour';

/** Which part of a history. Times are milliseconds since the Unix epoch. */
export interface HealthHistoryQuery {
  /** Default: as far back as is kept. */
  readonly from?: number;
  /** Exclusive. Default: now. */
  readonly to?: number;
  /** Default `minute`. Looks are kept for an hour, minutes for six hours, hours for 30 days. */
  readonly resolution?: HealthResolution;
}

/** How a resource did during a time. What was not measured is absent. */
export interface HealthSample {
  /** Its beginning, milliseconds since the Unix epoch. */
  readonly at: number;
  /** 0 for a single look. */
  readonly durationMs: number;
  /** How often it was looked at, and how often it answered. */
  readonly looks: number;
  readonly answered: number;
  /** Averages over the looks that were answered. */
  readonly cpuPercent?: number;
  readonly memoryPercent?: number;
  readonly storagePercent?: number;
  readonly temperatureCelsius?: number;
  readonly responseTimeMs?: number;
  /** Compilers on a build server, VMs on a host. */
  readonly activity?: number;
  /** The highest values of the time. */
  readonly cpuPercentMax?: number;
  readonly memoryPercentMax?: number;
  readonly temperatureCelsiusMax?: number;
  /** Counters as they stood at its end. */
  readonly networkBytesIn?: number;
  readonly networkBytesOut?: number;
}
