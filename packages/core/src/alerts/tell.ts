import type { Selectable } from 'kysely';
import type { NotificationReason } from '../contracts/notifier.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { alertSeverities, type Alert, type AlertSeverity } from '../model/alert.ts';
import { newId } from '../runtime.ts';
import type { AlertRow } from '../store/schema/alerts.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { enqueue } from '../work/queue.ts';
import { toAlert } from './raise.ts';

/**
 * Work of the kind `notification`. `tell`: what became of an alert goes to every notifier there is.
 * `settle`: an alert that flaps is looked at once more. `deliver`: one notifier is to be given it.
 */
export type NotificationInput =
  | { readonly step: 'tell'; readonly reason: NotificationReason; readonly alert: Alert; readonly turn: number }
  | { readonly step: 'settle'; readonly alertId: string; readonly notBefore: number }
  | {
      readonly step: 'deliver';
      readonly notifier: string;
      readonly reason: NotificationReason;
      readonly alert: Alert;
      readonly turn: number;
    };

/** Time and randomness of what is queued. */
export interface TellServices {
  readonly clock: Clock;
  readonly random: Random;
}

/** Has notifiers told of each alert that is raised, gets worse or is over, in the same transaction. */
export function tellOfAlerts(store: Store, services: TellServices): void {
  const look = async (tx: StoreTransaction, id: string): Promise<void> => {
    const row = await tx.db.selectFrom('alerts').selectAll().where('id', '=', id).executeTakeFirst();
    if (row !== undefined) await tellOrWait(tx, row, services);
  };
  store.react('alert:raised', look);
  store.react('alert:resolved', look);
}

/** Whether there is anything to tell, compared with what was told last. */
function newsOf(row: Selectable<AlertRow>): NotificationReason | undefined {
  if (row.resolved_at !== null) return row.told === 'raised' ? 'resolved' : undefined;
  if (row.told !== 'raised') return 'raised';
  const rank = (severity: string | null): number => alertSeverities.indexOf(severity as AlertSeverity);
  return rank(row.severity) > rank(row.told_severity) ? 'escalated' : undefined;
}

/** Trouble that comes and goes is told of once it stays as it is for a while; what gets worse is told of at once. */
async function tellOrWait(tx: StoreTransaction, row: Selectable<AlertRow>, services: TellServices): Promise<void> {
  const reason = newsOf(row);
  if (row.flaps < limits.alertFlapsTold || reason === 'escalated') {
    if (reason !== undefined) await tell(tx, row, reason, services);
    return;
  }
  if (row.settle_at !== null) return;
  const now = services.clock.now();
  const notBefore = now + limits.alertSettleMs;
  await tx.db.updateTable('alerts').set({ settle_at: notBefore }).where('id', '=', row.id).execute();
  await queue(tx, { step: 'settle', alertId: row.id, notBefore }, services);
}

/** Tells what a flapping alert has come to, if that differs from what was told last. */
export async function settle(tx: StoreTransaction, alertId: string, services: TellServices): Promise<void> {
  const row = await tx.db
    .updateTable('alerts')
    .set({ settle_at: null })
    .where('id', '=', alertId)
    .returningAll()
    .executeTakeFirst();
  if (row === undefined) return;
  const reason = newsOf(row);
  if (reason !== undefined) await tell(tx, row, reason, services);
}

async function tell(
  tx: StoreTransaction,
  row: Selectable<AlertRow>,
  reason: NotificationReason,
  services: TellServices,
): Promise<void> {
  const turn = row.told_count + 1;
  await tx.db
    .updateTable('alerts')
    .set({ told: reason === 'resolved' ? 'resolved' : 'raised', told_severity: row.severity, told_count: turn })
    .where('id', '=', row.id)
    .execute();
  await queue(tx, { step: 'tell', reason, alert: toAlert(row), turn }, services);
}

async function queue(tx: StoreTransaction, input: NotificationInput, { clock, random }: TellServices): Promise<void> {
  await enqueue(tx, { id: newId(clock, random), kind: 'notification', input }, clock.now());
}
