import type { Selectable } from 'kysely';
import type { Clock, Random } from '../contracts/runtime.ts';
import type { Architecture } from '../model/architecture.ts';
import type { MachineHealth, ResourceUtilization } from '../model/health.ts';
import type { Connection, ResourceKind, ServerStatus } from '../model/resource.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Store } from '../store/store.ts';
import type { Connectors } from './connectors.ts';

/** How much a resource has to give. */
export interface Capacity {
  readonly slots: number;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly storageGb: number;
}

/** A resource in the form the pool keeps it. */
export interface Described<P> {
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

/** What a kind looks at a resource with. */
export interface Look {
  /** The id it has, or will have. */
  readonly id: string;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends the look. */
  readonly signal: AbortSignal;
  /** Opens a connection; one that times out is tried again a few times, ever more slowly. */
  readonly patiently: <T>(open: () => Promise<T>) => Promise<T>;
  /** Names of the resources of the kind that have this trait. */
  readonly othersWith: (trait: string) => Promise<readonly string[]>;
  /** Whether somebody holds it, which no resource that is not in the pool yet is. */
  readonly isHeld: () => Promise<boolean>;
}

/**
 * All that differs between the three kinds of resource. A registration says what is wanted, `detect` what is there, and
 * `describe` makes of the two what the pool keeps: so a change of a label needs no look at the machine.
 */
export interface ResourceKindModule<
  Registration,
  View,
  Detected = unknown,
  P extends Partial<Connection> = Partial<Connection>,
> {
  readonly kind: ResourceKind;
  /** How a person calls it. */
  readonly title: string;
  /** Fields of a registration whose change needs no new look. */
  readonly quietFields: readonly string[];
  /** Checks a registration. @throws `invalid-input` with one issue per field. */
  validate(registration: unknown): Registration;
  /** The registration without what must not be kept. */
  withoutSecrets?(registration: Registration): Registration;
  /** Name it will have in the pool, for an early "is registered already". */
  nameOf(registration: Registration): string;
  labelsOf(registration: Registration): Readonly<Record<string, string>>;
  /** Connects to the resource, proves what is claimed, and finds out what it is and can do. Kept as JSON. */
  detect(registration: Registration, look: Look): Promise<Detected>;
  describe(registration: Registration, detected: Detected, connectors: Connectors): Described<P>;
  /** What views show beside what stands in the rows, by id. */
  current?(db: Pick<Store['db'], 'selectFrom'>, rows: readonly Selectable<ResourceRow>[]): Promise<Current>;
  /** The row as users see it. */
  view(row: Selectable<ResourceRow>, current?: object): View;
}

/** What is true of resources right now, by id. */
export type Current = ReadonlyMap<string, object>;

/** The trait that stands for a label. */
export function labelTrait(key: string, value: string): string {
  return `label:${key}=${value}`;
}

/** The trait of the members of a group. */
export function groupTrait(groupId: string): string {
  return `group:${groupId}`;
}

const unblocked: readonly string[] = [];

/** Why nothing new is allocated to a resource, beside its status and maintenance. */
export function blockedBy(row: { readonly blocked: string | null }): readonly string[] {
  return row.blocked === null ? unblocked : (JSON.parse(row.blocked) as string[]);
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
  statusSince: number;
  utilization?: ResourceUtilization;
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
    statusSince: row.status_since,
    ...(row.utilization !== null && { utilization: JSON.parse(row.utilization) as ResourceUtilization }),
    ...(row.last_health_check !== null && { lastHealthCheck: row.last_health_check }),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** The parts of a view that machines share: build servers and hosts. */
export function machineView(
  row: Selectable<ResourceRow>,
): ReturnType<typeof baseView> & {
  health?: MachineHealth;
  status: ServerStatus;
  totalCpuCores: number;
  totalMemoryMb: number;
  totalStorageGb: number;
} {
  return {
    ...baseView(row),
    ...(row.health !== null && { health: JSON.parse(row.health) as MachineHealth }),
    status: row.maintenance === 1 ? 'maintenance' : (row.status as ServerStatus),
    totalCpuCores: row.cpu_total,
    totalMemoryMb: row.memory_mb_total,
    totalStorageGb: row.storage_gb_total,
  };
}
