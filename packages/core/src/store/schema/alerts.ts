/** What a person should know, and who was told. */
export interface AlertTables {
  alerts: AlertRow;
  deliveries: DeliveryRow;
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
