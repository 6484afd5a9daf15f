/** Boards switched off and on. */
export interface PowerTables {
  power_events: PowerEventRow;
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
