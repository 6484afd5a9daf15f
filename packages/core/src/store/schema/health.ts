/** How resources do, and who watches them. */
export interface HealthTables {
  health_history: HealthHistoryRow;
  health_thresholds: HealthThresholdRow;
  monitor_leases: MonitorLeaseRow;
  monitors: MonitorRow;
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

/** Which process watches a share of the resources. */
export interface MonitorLeaseRow {
  shard: number;
  owner: string;
  lease_until: number;
}

/** A process that watches, or is ready to. */
export interface MonitorRow {
  owner: string;
  lease_until: number;
}
