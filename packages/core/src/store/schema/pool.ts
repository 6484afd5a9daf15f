import type { GeneratedAlways } from 'kysely';

/** Which resources there are, who holds them, and when they take nothing new. */
export interface PoolTables {
  resources: ResourceRow;
  architecture_sets: ArchitectureSetRow;
  traits: TraitRow;
  reservations: ReservationRow;
  maintenance_windows: MaintenanceWindowRow;
}

/** A build server, host or board. */
export interface ResourceRow {
  id: string;
  kind: string;
  name: string;
  /** Result of the last look: online, degraded, offline or unknown; flashing or recovery while a board is. */
  status: string;
  status_reason: string | null;
  status_since: number;
  /** Why nothing new is allocated although it is online: a JSON array of words, or null. */
  blocked: string | null;
  /** What it can serve: the names in their order, with commas between. */
  architectures: string;
  /** The group that decides over it. */
  group_id: string | null;
  /** What it is busy with, as last measured: a ResourceUtilization as JSON. */
  utilization: string | null;
  /** How it is doing beside that: JSON of the kind's own, such as a BoardHealth. */
  health: string | null;
  /** The newest deployment that was verified to boot there. */
  good_deployment_id: string | null;
  /** What a board was flashed with last: a FirmwareRecord as JSON. */
  firmware: string | null;
  maintenance: number;
  /** What was asked for, without secrets. JSON. */
  registration: string;
  /** What the last look found. JSON. */
  detected: string;
  /** What the kind's module made of the two. JSON. */
  profile: string;
  labels: string;
  slots_total: number;
  slots_used: number;
  cpu_total: number;
  cpu_used: number;
  memory_mb_total: number;
  memory_mb_used: number;
  storage_gb_total: number;
  storage_gb_used: number;
  /** 1 when it is online or degraded, not blocked, not in maintenance and has a free slot. */
  open: GeneratedAlways<number>;
  /** How much of it is used, 0…1: of slots, cores, memory and storage the most used; what it has none of counts as unused. */
  load: GeneratedAlways<number>;
  /** While it is held back for a waiting request: only requests of this rank or a lower one get it. */
  held_rank: number | null;
  /** Grows with every reservation; the newest reservation carries the newest fence. */
  fence: number;
  last_health_check: number | null;
  created_at: number;
  updated_at: number;
}

/**
 * That some resource has these architectures, or had, and that this is one of them. Selection walks the resources of
 * each set, least loaded first: a lab has few sets, and a reservation moves a resource in one place for all of its architectures.
 */
export interface ArchitectureSetRow {
  architecture: string;
  architectures: string;
}

/** A yes/no property that requests can ask for: `label:rack=a`, `toolchain:gcc:arm64`, `kvm`. */
export interface TraitRow {
  resource_id: string;
  trait: string;
}

/** A lease on capacity of one resource, as long as it lasts: what ended is told by the events. */
export interface ReservationRow {
  id: string;
  resource_id: string;
  /** Work item (or, outside of one, any name) on whose behalf it is held. */
  holder: string;
  slots: number;
  cpu: number;
  memory_mb: number;
  storage_gb: number;
  fence: number;
  expires_at: number;
  /** How long after it was granted or renewed that is. */
  lease_ms: number;
  /** When the holder is expected to give it back; null when nobody knows. */
  expected_end_at: number | null;
  created_at: number;
}

/** A time in which a resource takes nothing new. */
export interface MaintenanceWindowRow {
  id: string;
  resource_id: string;
  starts_at: number;
  /** Null until further notice. */
  ends_at: number | null;
  reason: string;
  /** scheduled, active, ended or cancelled. */
  state: string;
}
