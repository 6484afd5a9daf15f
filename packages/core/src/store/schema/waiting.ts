import type { Generated } from 'kysely';

/** Who waits for what. */
export interface WaitingTables {
  waiting: WaitingRow;
  waiting_shapes: WaitingShapeRow;
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
