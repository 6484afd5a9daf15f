import type { Generated } from 'kysely';

/** Builds and what is learned from them. */
export interface BuildTables {
  builds: BuildRow;
  build_tags: BuildTagRow;
  build_times: BuildTimeRow;
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
