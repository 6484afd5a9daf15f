/** Durable work and what it says. */
export interface WorkTables {
  work_items: WorkRow;
  logs: LogRow;
  log_chunks: LogChunkRow;
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
  /** How long after it was put aside `run_after` is; null when that does not matter. */
  wait_ms: number | null;
  deadline_at: number | null;
  /** Set once the item has been asked to stop: the error it will end with. JSON. */
  stop_reason: string | null;
  /** How often it was taken over from a process that died. */
  takeovers: number;
  /** What of a trace it is a part of: a W3C traceparent. */
  traceparent: string | null;
  owner: string | null;
  lease_until: number | null;
  fence: number;
  created_at: number;
  started_at: number | null;
  finished_at: number | null;
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
