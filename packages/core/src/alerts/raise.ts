import type { Selectable } from 'kysely';
import type { Clock, Random } from '../contracts/runtime.ts';
import type { JsonValue } from '../errors.ts';
import { limits } from '../limits.ts';
import { alertSeverities, type Alert, type AlertSeverity, type AlertState, type AlertType } from '../model/alert.ts';
import { newId } from '../runtime.ts';
import type { AlertRow } from '../store/schema/alerts.ts';
import type { StoreTransaction } from '../store/store.ts';

/** Trouble that was noticed. */
export interface Trouble {
  readonly type: AlertType;
  readonly severity: AlertSeverity;
  /** Id of what it is about; empty for the lab as a whole. */
  readonly subject: string;
  /** What happened and what to do. Never holds a secret. */
  readonly message: string;
  readonly details?: { readonly [key: string]: JsonValue };
}

/**
 * Raises an alert in the transaction that found the trouble. The same trouble of the same subject,
 * while it lasts, is the same alert: it is counted, and its severity can only rise. So is trouble that comes
 * back within `limits.alertFlapMs`.
 */
export async function raiseAlert(
  tx: StoreTransaction,
  trouble: Trouble,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<Alert> {
  const now = clock.now();
  const known = await unresolved(tx, trouble.subject, trouble.type).executeTakeFirst();
  if (known !== undefined) return noticedAgain(tx, known, trouble, now);
  const recent = await justOver(tx, trouble, now);
  if (recent !== undefined) return cameBack(tx, recent, trouble, now);
  const row = await tx.db
    .insertInto('alerts')
    .values({
      id: newId(clock, random),
      type: trouble.type,
      severity: trouble.severity,
      state: 'open',
      subject: trouble.subject,
      message: trouble.message,
      details: JSON.stringify(trouble.details ?? {}),
      count: 1,
      raised_at: now,
      last_seen_at: now,
      acknowledged_at: null,
      acknowledged_by: null,
      resolved_at: null,
      resolution: null,
      resolved_by: null,
      flaps: 0,
      told: null,
      told_severity: null,
      told_count: 0,
      spread_count: 0,
      settle_at: null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await tellRaised(tx, row);
  return toAlert(row);
}

/** Ends an alert because the trouble is over. Harmless when there is none. */
export async function resolveAlert(
  tx: StoreTransaction,
  trouble: Pick<Trouble, 'type' | 'subject'>,
  resolution: string,
  now: number,
): Promise<void> {
  const known = await unresolved(tx, trouble.subject, trouble.type).executeTakeFirst();
  if (known !== undefined) await endAlert(tx, known.id, resolution, now);
}

/** Notes that somebody knows of an open alert. Harmless when it is not open. */
export async function acknowledgeAlert(tx: StoreTransaction, id: string, by: string, now: number): Promise<void> {
  const row = await tx.db
    .updateTable('alerts')
    .set({ state: 'acknowledged', acknowledged_at: now, acknowledged_by: by })
    .where('id', '=', id)
    .where('state', '=', 'open')
    .returning('id')
    .executeTakeFirst();
  if (row !== undefined) await tx.emit('alert:acknowledged', id, { id, by });
}

/** Ends one alert by its id; undefined when it has ended before, or never was. `by`: a person who says so. */
export async function endAlert(
  tx: StoreTransaction,
  id: string,
  resolution: string,
  now: number,
  by?: string,
): Promise<Alert | undefined> {
  const row = await tx.db
    .updateTable('alerts')
    .set({ state: 'resolved', resolved_at: now, resolution, resolved_by: by ?? null })
    .where('id', '=', id)
    .where('resolved_at', 'is', null)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return undefined;
  await tx.emit('alert:resolved', id, { id, subject: row.subject, resolution });
  return toAlert(row);
}

function unresolved({ db }: StoreTransaction, subject: string, type: AlertType) {
  return db
    .selectFrom('alerts')
    .selectAll()
    .where('subject', '=', subject)
    .where('type', '=', type)
    .where('resolved_at', 'is', null);
}

/** The same trouble, noticed to be over a moment ago. When a person said so, it is new trouble. */
function justOver(
  { db }: StoreTransaction,
  { subject, type }: Trouble,
  now: number,
): Promise<Selectable<AlertRow> | undefined> {
  return db
    .selectFrom('alerts')
    .selectAll()
    .where('subject', '=', subject)
    .where('type', '=', type)
    .where('resolved_at', '>', now - limits.alertFlapMs)
    .where('resolved_by', 'is', null)
    .orderBy('resolved_at', 'desc')
    .limit(1)
    .executeTakeFirst();
}

/** Trouble that comes and goes is one alert: people would drown in them. */
async function cameBack(
  tx: StoreTransaction,
  recent: Selectable<AlertRow>,
  trouble: Trouble,
  now: number,
): Promise<Alert> {
  const row = await tx.db
    .updateTable('alerts')
    .set({
      state: 'open',
      severity: trouble.severity,
      count: recent.count + 1,
      flaps: recent.flaps + 1,
      last_seen_at: now,
      message: trouble.message,
      details: JSON.stringify(trouble.details ?? {}),
      acknowledged_at: null,
      acknowledged_by: null,
      resolved_at: null,
      resolution: null,
    })
    .where('id', '=', recent.id)
    .returningAll()
    .executeTakeFirstOrThrow();
  await tellRaised(tx, row);
  return toAlert(row);
}

async function noticedAgain(
  tx: StoreTransaction,
  known: Selectable<AlertRow>,
  trouble: Trouble,
  now: number,
): Promise<Alert> {
  const worse = rank(trouble.severity) > rank(known.severity as AlertSeverity);
  const row = await tx.db
    .updateTable('alerts')
    .set({
      count: known.count + 1,
      last_seen_at: now,
      message: trouble.message,
      details: JSON.stringify(trouble.details ?? {}),
      // Somebody took note of a smaller trouble than this has become.
      ...(worse && { severity: trouble.severity, state: 'open', acknowledged_at: null, acknowledged_by: null }),
    })
    .where('id', '=', known.id)
    .returningAll()
    .executeTakeFirstOrThrow();
  if (worse) await tellRaised(tx, row);
  return toAlert(row);
}

async function tellRaised(tx: StoreTransaction, row: Selectable<AlertRow>): Promise<void> {
  const { id, subject } = row;
  await tx.emit('alert:raised', id, {
    id,
    subject,
    type: row.type as AlertType,
    severity: row.severity as AlertSeverity,
  });
}

function rank(severity: AlertSeverity): number {
  return alertSeverities.indexOf(severity);
}

/** The row as users see it. */
export function toAlert(row: Selectable<AlertRow>): Alert {
  return {
    id: row.id,
    type: row.type as AlertType,
    severity: row.severity as AlertSeverity,
    state: row.state as AlertState,
    subject: row.subject,
    message: row.message,
    details: JSON.parse(row.details) as Alert['details'],
    count: row.count,
    raisedAt: row.raised_at,
    lastSeenAt: row.last_seen_at,
    ...(row.acknowledged_at !== null && { acknowledgedAt: row.acknowledged_at }),
    ...(row.acknowledged_by !== null && { acknowledgedBy: row.acknowledged_by }),
    ...(row.resolved_at !== null && { resolvedAt: row.resolved_at }),
    ...(row.resolution !== null && { resolution: row.resolution }),
  };
}
