/** What is held for whom. */
export interface EnvironmentTables {
  environments: EnvironmentRow;
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
