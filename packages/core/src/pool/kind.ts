import type { Selectable } from 'kysely';
import type { CallOptions } from '../contracts/runtime.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Connection, ResourceKind } from '../model/resource.ts';
import type { ResourceRow } from '../store/schema.ts';
import type { Connectors } from './connectors.ts';

/** How much a resource has to give. */
export interface Capacity {
  readonly slots: number;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly storageGb: number;
}

/** What a probe found out, in the form the pool keeps. */
export interface Probed<P> {
  /** Unique among resources of the kind. */
  readonly name: string;
  /** Kept as JSON, and handed back to the kind for its view. */
  readonly profile: P;
  readonly capacity: Capacity;
  /** Architectures it can serve. */
  readonly architectures: readonly Architecture[];
  /** How it is doing, in the kind's own form; kept as JSON. */
  readonly health?: object;
  /** Yes/no properties beside its labels that requests can ask for, such as `kvm`. */
  readonly traits: readonly string[];
}

/** All that differs between the three kinds of resource. */
export interface ResourceKindModule<Registration, View, P extends Partial<Connection> = Partial<Connection>> {
  readonly kind: ResourceKind;
  /** How a person calls it. */
  readonly title: string;
  /** Checks a registration. @throws `invalid-input` with one issue per field. */
  validate(registration: unknown): Registration;
  /** Name it will have in the pool, for an early "is registered already". */
  nameOf(registration: Registration): string;
  labelsOf(registration: Registration): Readonly<Record<string, string>>;
  /** Connects to the resource and finds out what it is and can do. */
  probe(registration: Registration, connectors: Connectors, options: CallOptions): Promise<Probed<P>>;
  /** The row as users see it. */
  view(row: Selectable<ResourceRow>): View;
}

/** The trait that stands for a label. */
export function labelTrait(key: string, value: string): string {
  return `label:${key}=${value}`;
}

/** The trait of the members of a group. */
export function groupTrait(groupId: string): string {
  return `group:${groupId}`;
}

/** Why nothing new is allocated to a resource, beside its status and maintenance. */
export function blockedBy(row: { readonly blocked: string | null }): readonly string[] {
  return row.blocked === null ? [] : (JSON.parse(row.blocked) as string[]);
}

/** The parts of a view that all kinds share. */
export function baseView(row: Selectable<ResourceRow>): {
  id: string;
  groupId?: string;
  statusReason?: string;
  blockedBy: readonly string[];
  labels: Readonly<Record<string, string>>;
  maintenanceMode: boolean;
  currentUtilization: number;
  lastHealthCheck?: number;
  createdAt: number;
  updatedAt: number;
} {
  return {
    id: row.id,
    ...(row.group_id !== null && { groupId: row.group_id }),
    ...(row.status_reason !== null && { statusReason: row.status_reason }),
    blockedBy: blockedBy(row),
    labels: JSON.parse(row.labels) as Record<string, string>,
    maintenanceMode: row.maintenance === 1,
    currentUtilization: row.load,
    ...(row.last_health_check !== null && { lastHealthCheck: row.last_health_check }),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}
