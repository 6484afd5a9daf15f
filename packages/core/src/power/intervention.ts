import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import type { JsonValue } from '../errors.ts';
import { blockedBy } from '../pool/kind.ts';
import { changeStatus } from '../pool/status.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

/** Why nothing is allocated to a board that a person has to look after. */
export const manualIntervention = 'manual-intervention';

/** Why nothing is allocated to a board whose power was switched off on request. */
export const poweredOff = 'powered-off';

/** Why nothing is allocated to a board whose flash was cut off or failed half-way: it has to be flashed again. */
export const halfFlashed = 'half-flashed';

/**
 * What a person is needed for. `power-control`: its power can't be switched. `no-answer`: it does not
 * come back. `by-hand`: its power is switched by hand.
 */
export type InterventionCause = 'power-control' | 'no-answer' | 'by-hand';

/** A board that needs a person. */
export interface Intervention {
  readonly boardId: string;
  readonly cause: InterventionCause;
  /** What happened and what to do. */
  readonly message: string;
  readonly details?: { readonly [key: string]: JsonValue };
}

/** Nothing new is allocated to the board, and a person is told, until {@link clearIntervention}. */
export async function needIntervention(
  tx: StoreTransaction,
  { boardId, cause, message, details }: Intervention,
  services: { readonly clock: Clock; readonly random: Random },
): Promise<void> {
  await changeStatus(tx, boardId, { block: [manualIntervention], now: services.clock.now() });
  await raiseAlert(
    tx,
    { type: manualIntervention, severity: 'critical', subject: boardId, message, details: { cause, ...details } },
    services,
  );
}

/** The board needs nobody any more. Harmless when it did not. */
export async function clearIntervention(
  tx: StoreTransaction,
  boardId: string,
  resolution: string,
  now: number,
): Promise<void> {
  await changeStatus(tx, boardId, { unblock: [manualIntervention], now });
  await resolveAlert(tx, { type: manualIntervention, subject: boardId }, resolution, now);
}

/** What a board needs a person for; undefined when it needs none. */
export async function interventionOf(
  db: Pick<Store['db'], 'selectFrom'>,
  boardId: string,
): Promise<{ readonly cause: InterventionCause; readonly message: string } | undefined> {
  const row = await db
    .selectFrom('alerts')
    .select(['message', 'details'])
    .where('subject', '=', boardId)
    .where('type', '=', manualIntervention)
    .where('resolved_at', 'is', null)
    .executeTakeFirst();
  if (row === undefined) return undefined;
  const { cause } = JSON.parse(row.details) as { cause: InterventionCause };
  return { cause, message: row.message };
}

/**
 * A board that answers again needs nobody to bring it back, whoever found that it does. One whose power
 * can't be switched still does.
 */
export function watchInterventions(store: Store, clock: Clock): void {
  store.react('resource:status', async (tx, boardId, { kind, status }) => {
    if (kind !== 'board' || status !== 'online') return;
    const row = await tx.db.selectFrom('resources').select('blocked').where('id', '=', boardId).executeTakeFirst();
    if (row === undefined || !blockedBy(row).includes(manualIntervention)) return;
    const needed = await interventionOf(tx.db, boardId);
    if (needed?.cause === 'power-control') return;
    await clearIntervention(tx, boardId, 'it answers again', clock.now());
  });
}
