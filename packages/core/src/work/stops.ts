// How work is asked to stop: at once where it has not begun, else by telling whoever runs it.
import type { Selectable } from 'kysely';
import { BringupError, type StoredError } from '../errors.ts';
import { isFinal, type WorkKind, type WorkState } from '../model/work.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { StoreTransaction } from '../store/store.ts';
import { finish, ready } from './queue.ts';
import { itemById, overdue } from './queue-queries.ts';
import { children } from './records.ts';

const finals: readonly WorkState[] = ['succeeded', 'failed', 'cancelled'];

/** Asks the items whose deadline has passed, and what they started, to stop. */
export async function stopOverdue(
  tx: StoreTransaction,
  uncancellable: readonly WorkKind[],
  now: number,
): Promise<void> {
  const late = await overdue(tx.db.selectFrom('work_items'), now).select(['id', 'kind']).execute();
  for (const { id, kind } of late) {
    const error = new BringupError('deadline-exceeded', `${kind} ${id} did not end by its deadline`, {
      retryable: true,
    });
    await requestStop(tx, id, uncancellable, error.toJSON(), now);
  }
}

/**
 * Asks an item and everything it started to stop. What has not begun ends at once; what runs is
 * told; what waits is run once more so that it can put things back in order. The first reason stays.
 */
export async function requestStop(
  tx: StoreTransaction,
  id: string,
  uncancellable: readonly WorkKind[],
  reason: StoredError,
  now: number,
): Promise<void> {
  const row = await itemById.first(tx.db, { id });
  if (row === undefined || isFinal(row.state as WorkState) || uncancellable.includes(row.kind as WorkKind)) return;
  await stopChildren(tx, id, uncancellable, reason, now);
  if (row.state === 'queued' && row.started_at === null) {
    await finish(tx, row, { state: reason.code === 'aborted' ? 'cancelled' : 'failed', error: reason }, now);
    return;
  }
  const isFlow = row.wake_on === children;
  await tx.db
    .updateTable('work_items')
    .set({
      stop_reason: row.stop_reason ?? JSON.stringify(reason),
      ...(row.state === 'waiting' && !isFlow && { state: 'queued' }),
    })
    .where('id', '=', id)
    .execute();
  if (isFlow) tx.beforeCommit('parents', id);
  else if (row.state === 'waiting') ready(tx, row.kind);
  tx.wake('stops');
  tx.wake('work');
}

/** Asks what an item started to stop. Gives a child that has not ended yet, if there is one. */
async function stopChildren(
  tx: StoreTransaction,
  parentId: string,
  uncancellable: readonly WorkKind[],
  reason: StoredError,
  now: number,
): Promise<string | undefined> {
  const unfinished = tx.db
    .selectFrom('work_items')
    .select('id')
    .where('parent_id', '=', parentId)
    .where('state', 'not in', finals)
    .$if(uncancellable.length > 0, (query) => query.where('kind', 'not in', uncancellable));
  for (const child of await unfinished.execute()) await requestStop(tx, child.id, uncancellable, reason, now);
  return (await unfinished.executeTakeFirst())?.id;
}

/**
 * Stores that an item can only fail from here on, whoever takes it over, and stops what it started. Gives a child
 * that has to end first, if there is one.
 */
export async function beginToFail(
  tx: StoreTransaction,
  { id, kind }: Pick<Selectable<WorkRow>, 'id' | 'kind'>,
  error: BringupError,
  uncancellable: readonly WorkKind[],
  now: number,
): Promise<string | undefined> {
  await tx.db
    .updateTable('work_items')
    .set({ error: JSON.stringify(error.toJSON()) })
    .where('id', '=', id)
    .execute();
  const reason = new BringupError('aborted', `${kind} ${id}, which it was part of, has ended: ${error.message}`);
  return stopChildren(tx, id, uncancellable, reason.toJSON(), now);
}
