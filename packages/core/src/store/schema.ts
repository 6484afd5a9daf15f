import type { Generated, GeneratedAlways } from 'kysely';

/**
 * Tables as they are stored. Times are milliseconds since the Unix epoch, truth values 0 or 1, and
 * `json` columns hold JSON text: the same on every engine.
 */
export interface Schema {
  resources: ResourceRow;
  architecture_sets: ArchitectureSetRow;
  traits: TraitRow;
  reservations: ReservationRow;
  waiting: WaitingRow;
  waiting_shapes: WaitingShapeRow;
  work_items: WorkRow;
  events: EventRow;
  logs: LogRow;
  log_chunks: LogChunkRow;
  artifacts: ArtifactRow;
  blobs: BlobRow;
  blob_claims: BlobClaimRow;
  builds: BuildRow;
  build_tags: BuildTagRow;
  build_times: BuildTimeRow;
  environments: EnvironmentRow;
  deployments: DeploymentRow;
  flashes: FlashRow;
  test_runs: TestRunRow;
  pipelines: PipelineRow;
  alerts: AlertRow;
  groups: GroupRow;
  group_members: GroupMemberRow;
  group_approvals: GroupApprovalRow;
  policy_decisions: PolicyDecisionRow;
  maintenance_windows: MaintenanceWindowRow;
  deliveries: DeliveryRow;
  power_events: PowerEventRow;
  chores: ChoreRow;
  conditions: ConditionRow;
  facts: FactRow;
  health_history: HealthHistoryRow;
  health_thresholds: HealthThresholdRow;
  monitor_leases: MonitorLeaseRow;
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
  /** When the holder is expected to give it back; null when nobody knows. */
  expected_end_at: number | null;
  created_at: number;
}

/** A request that fits nothing now, or one that was granted and not yet collected. */
export interface WaitingRow {
  /** Order of arrival. */
  seq: Generated<number>;
  /** Becomes the id of the reservation. */
  id: string;
  shape: string;
  kind: string;
  architecture: string;
  holder: string;
  /** Work item that waits; null when somebody outside of work does. */
  waiter: string | null;
  /** waiting or granted. */
  state: string;
  priority: number;
  /** Whose turn it is: when it came, made earlier by its priority. The lowest is first. */
  rank: number;
  preferred: string | null;
  /** How long it will hold what it gets. */
  expected_ms: number | null;
  enqueued_at: number;
  deadline_at: number | null;
  /** Resource that is held back for it. */
  held_id: string | null;
}

/** What one or many waiting requests ask for. A release looks at shapes, not at requests. */
export interface WaitingShapeRow {
  /** Hash of the request. */
  id: string;
  kind: string;
  architecture: string;
  /** The one resource it may be; empty for any. */
  only_id: string;
  /** A trait the resource must have; empty for none. The others are checked one by one. */
  trait: string;
  /** What the resource must have in all. */
  slots: number;
  cpu: number;
  memory_mb: number;
  storage_gb: number;
  /** A CapacityRequest as JSON. */
  request: string;
  /** Requests that wait in this shape. */
  waiting: number;
  /** The first of them. */
  first_rank: number;
  first_seq: number;
}

/** One unit of durable work. */
export interface WorkRow {
  id: string;
  kind: string;
  /** queued, running, waiting, succeeded, failed or cancelled. */
  state: string;
  /** What it is doing, in the words of its kind. */
  phase: string | null;
  input: string;
  checkpoint: string | null;
  output: string | null;
  error: string | null;
  parent_id: string | null;
  /** Distinguishes the children of one parent. */
  child_key: string | null;
  /** What a waiting item waits for, besides `run_after`. */
  wake_on: string | null;
  priority: number;
  run_after: number;
  deadline_at: number | null;
  /** Set once the item has been asked to stop: the error it will end with. JSON. */
  stop_reason: string | null;
  /** How often it was taken over from a process that died. */
  takeovers: number;
  owner: string | null;
  lease_until: number | null;
  fence: number;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
}

/** One entry of the event feed. */
export interface EventRow {
  seq: Generated<number>;
  at: number;
  name: string;
  subject: string;
  data: string;
}

/** A log: bytes that only ever grow. */
export interface LogRow {
  id: string;
  size_bytes: number;
  ended: number;
}

/** A piece of a log. */
export interface LogChunkRow {
  log_id: string;
  start_byte: number;
  bytes: Uint8Array;
}

/** A stored file; its bytes are in the artifact storage under the hash. */
export interface ArtifactRow {
  id: string;
  /** Work item that made it: a build, a boot or a test run. */
  producer_id: string;
  build_id: string | null;
  type: string;
  filename: string;
  sha256: string;
  size_bytes: number;
  architecture: string;
  metadata: string;
  created_at: number;
}

/** Bytes in the artifact storage, which any number of artifacts may share. */
export interface BlobRow {
  sha256: string;
  size_bytes: number;
  /** When the stored bytes were last proven to have their hash. */
  verified_at: number;
  /** Since when they are known to be damaged or missing; null while they are served. */
  corrupted_at: number | null;
  /** Since when nothing is known to need them; null while something does. */
  unused_since: number | null;
  /** Set while they are being removed from the storage: nobody may count on them. */
  doomed_at: number | null;
}

/** Somebody counts on stored bytes without having recorded an artifact yet. */
export interface BlobClaimRow {
  sha256: string;
  /** A work item, whose end ends the claim; or any name, whose claim ends with its time. */
  holder: string;
  created_at: number;
}

/** What a build adds to its work item. */
export interface BuildRow {
  id: string;
  repository: string;
  branch: string;
  /** Commit asked for; null for the branch's head. */
  wanted_commit: string | null;
  commit_hash: string | null;
  architecture: string;
  config: string;
  server_id: string | null;
  /** The server it may run on, when it is bound to one. */
  wanted_server_id: string | null;
  /** Set when it succeeded, for the look-up of the latest. */
  succeeded_at: number | null;
  /** What it used of its server: a BuildResourceUse as JSON. */
  resource_use: string | null;
  /** 1 while a person wants its artifacts kept. */
  pinned: Generated<number>;
  /** When its artifacts were removed. */
  artifacts_removed_at: number | null;
}

/** A name a person gave a build. Tagged builds are kept. */
export interface BuildTagRow {
  build_id: string;
  tag: string;
  created_at: number;
}

/** How long builds of one kind take on one server, learned from those that succeeded. */
export interface BuildTimeRow {
  repository: string;
  architecture: string;
  server_id: string;
  /** Recent builds count more. */
  mean_seconds: number;
  builds: number;
  updated_at: number;
}

/** A host's share or a board, held for somebody, and what runs there. */
export interface EnvironmentRow {
  id: string;
  owner: string | null;
  team: string | null;
  target_type: string;
  target_id: string | null;
  reservation_id: string | null;
  /** The deployment that runs there, or is being put there. */
  deployment_id: string;
  /** How long it is kept once it is ready. */
  keep_ms: number;
  /** When it ends unless it is extended; null while work goes on in it. */
  expires_at: number | null;
  released_at: number | null;
  created_at: number;
}

/** What a deployment adds to its work item. */
export interface DeploymentRow {
  id: string;
  environment_id: string;
  target_type: string;
  target_id: string | null;
  architecture: string | null;
  build_id: string | null;
  commit_hash: string | null;
  /** Where its build came from: `repository branch`, by which known-good deployments are found. */
  line: string | null;
  artifact_ids: string;
  /** The VM as it was asked for: a VmSpec as JSON. */
  vm: string | null;
  /** The newest boot of it. */
  boot_id: string | null;
  boot_verified: number;
  /** How that boot went: a BootReport as JSON. */
  boot: string | null;
  /** The last verification: a VerificationReport as JSON. */
  verification: string | null;
  /** The deployment that put a known-good one in its place. */
  rolled_back_by: string | null;
}

/** One flash of a board: what a flash adds to its work item. */
export interface FlashRow {
  id: string;
  board_id: string;
  deployment_id: string | null;
  build_id: string | null;
  commit_hash: string | null;
  firmware_version: string;
  /** What goes where: FlashPart[] as JSON. */
  parts: string;
  /** What is proven of each slot: FlashReceipt[] as JSON. */
  receipts: string;
  attempts: number;
  /** Bytes of all parts that have been sent in this attempt. */
  transferred_bytes: number;
}

/** What a test run adds to its work item. */
export interface TestRunRow {
  id: string;
  deployment_id: string;
  results: string | null;
}

/** What a pipeline adds to its work item. */
export interface PipelineRow {
  id: string;
  name: string | null;
  repository: string;
  branch: string;
  architecture: string;
  environment_type: string;
}

/** Something a person should know. One row for as long as the same trouble of the same subject lasts. */
export interface AlertRow {
  id: string;
  type: string;
  severity: string;
  state: string;
  subject: string;
  message: string;
  details: string;
  count: number;
  raised_at: number;
  last_seen_at: number;
  acknowledged_at: number | null;
  acknowledged_by: string | null;
  resolved_at: number | null;
  resolution: string | null;
  /** Who said that it is over; null when it was noticed. */
  resolved_by: string | null;
  /** How often it came back soon after it was over. */
  flaps: number;
  /** What notifiers were last told of it: raised or resolved. */
  told: string | null;
  /** With which severity. */
  told_severity: string | null;
  /** How often there was something to tell of it. */
  told_count: number;
  /** How much of that has been handed to the notifiers. */
  spread_count: number;
  /** When it is looked at again whether there is something to tell, while it flaps. */
  settle_at: number | null;
}

/** What the delivery of an alert to one notifier adds to its work item. */
export interface DeliveryRow {
  id: string;
  alert_id: string;
  notifier: string;
  reason: string;
  /** Its place among what there was to tell of the alert. */
  turn: number;
}

/** What a change of a board's power adds to its work item. */
export interface PowerEventRow {
  id: string;
  board_id: string;
  action: string;
  /** request, recovery or hang. */
  trigger_kind: string;
  requested_by: string;
  reason: string;
  cycles: number;
  off_at: number | null;
  on_at: number | null;
  answered_at: number | null;
}

/** Something done again and again, by one process at a time: the one that moves its time on. */
export interface ChoreRow {
  name: string;
  due_at: number;
}

/** Something about the lab as a whole that never changes, such as its id. */
export interface FactRow {
  name: string;
  value: string;
}

/** A state of the lab as a whole that lasts, such as a full artifact storage. */
export interface ConditionRow {
  name: string;
  since: number;
  details: string;
}

/** A group of resources of one kind. */
export interface GroupRow {
  id: string;
  name: string;
  description: string | null;
  kind: string;
  /** Resources with all these labels are members. JSON. */
  labels: string;
  /** Ids of resources that are members whatever their labels. JSON. */
  listed: string;
  /** An AllocationPolicy as JSON. */
  policy: string;
  priority: number;
  /** Grows with each decision that counts: those who count take turns. */
  turn: number;
  created_at: number;
  updated_at: number;
}

/** Who is in a group at the moment, worked out from its labels and its list. */
export interface GroupMemberRow {
  group_id: string;
  resource_id: string;
}

/** A requester's wish to use a group, and what became of it. */
export interface GroupApprovalRow {
  id: string;
  group_id: string;
  requester: string;
  team: string | null;
  /** wanted, approved or denied. */
  state: string;
  requested_at: number;
  expires_at: number;
  decided_at: number | null;
  decided_by: string | null;
  reason: string | null;
}

/** What a policy decided on one allocation. */
export interface PolicyDecisionRow {
  seq: Generated<number>;
  at: number;
  group_id: string;
  policy: string;
  resource_id: string;
  requester: string | null;
  team: string | null;
  allowed: number;
  reason: string;
}

/** How a resource did during some time. */
export interface HealthHistoryRow {
  resource_id: string;
  /** `minute` or `hour`. */
  resolution: string;
  /** When it began. */
  at: number;
  /** A HealthSample as JSON. */
  sample: string;
  /** Every look of a minute as JSON, until they are too old; null for hours. */
  looks: string | null;
}

/** Thresholds somebody set. */
export interface HealthThresholdRow {
  /** resource, group or kind. */
  scope: string;
  /** Id of the resource or group, or the kind. */
  scope_id: string;
  thresholds: string;
}

/** Which process watches. */
export interface MonitorLeaseRow {
  name: string;
  owner: string;
  lease_until: number;
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
