import type { Selectable, Transaction } from 'kysely';
import { BringupError, type StoredError } from '../errors.ts';
import type { WorkVerb } from '../events.ts';
import type { WorkKind, WorkState } from '../model/work.ts';
import { isFinal } from '../model/work.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { Schema } from '../store/schema.ts';
import type { StoreTransaction } from '../store/store.ts';
import { limits } from '../limits.ts';
import {
  addItem,
  asideItem,
  claimItems,
  endItem,
  itemById,
  overdue,
  ownedItem,
  readyWaiting,
  setWakeOn,
  tellRunning,
  unfinishedBeyond,
} from './queue-queries.ts';
import { endOf, never, toWorkEvent } from './records.ts';

/** What a new item is made of. */
export interface NewWork {
  readonly id: string;
  readonly kind: WorkKind;
  readonly input: unknown;
  readonly parentId?: string;
  readonly childKey?: string;
  readonly priority?: number;
  readonly timeoutMs?: number;
  /** What of a trace it is a part of. */
  readonly traceparent?: string | undefined;
}

const finals: readonly WorkState[] = ['succeeded', 'failed', 'cancelled'];

/** Tells everybody what happened to an item. */
export async function announce(tx: StoreTransaction, row: Selectable<WorkRow>, verb: WorkVerb): Promise<void> {
  await tx.emit(`${row.kind as WorkKind}:${verb}`, row.id, toWorkEvent(row));
}

/** Puts a new item into the queue. */
export async function enqueue(tx: StoreTransaction, work: NewWork, now: number): Promise<void> {
  const row = await addItem.first(tx.db, {
    id: work.id,
    kind: work.kind,
    input: JSON.stringify(work.input),
    parent_id: work.parentId ?? null,
    child_key: work.childKey ?? null,
    priority: work.priority ?? 0,
    deadline_at: work.timeoutMs === undefined ? null : now + work.timeoutMs,
    traceparent: work.traceparent ?? null,
    now,
  });
  if (row === undefined) throw new TypeError(`work item ${work.id} was not added`);
  await announce(tx, row, 'queued');
  tx.wake('work');
}

/**
 * Keeps a program that submits faster than the lab works from filling the database: it has to come again later.
 * @throws `unavailable`.
 */
export async function refuseTooMuch({ db }: StoreTransaction): Promise<void> {
  const last = await unfinishedBeyond({ count: limits.workUnfinishedMax }).first(db, {});
  if (last === undefined) return;
  const message = `the lab has ${limits.workUnfinishedMax} unfinished work items; try again later`;
  throw new BringupError('unavailable', message, { retryable: true, details: { limit: limits.workUnfinishedMax } });
}

/**
 * Makes ready what has become due: items whose wait is over, and items whose owner is gone. Gives the kinds of
 * the latter.
 */
export async function requeueDue(
  tx: StoreTransaction,
  now: number,
  deadOwners: readonly string[],
): Promise<WorkKind[]> {
  await tx.db
    .updateTable('work_items')
    .set({ state: 'queued', wake_on: null })
    .where('state', '=', 'waiting')
    .where('run_after', '<=', now)
    .execute();
  const recovered = await tx.db
    .updateTable('work_items')
    .set((eb) => ({ state: 'queued', owner: null, lease_until: null, takeovers: eb('takeovers', '+', 1) }))
    .where('state', '=', 'running')
    .where((eb) =>
      deadOwners.length === 0
        ? eb('lease_until', '<=', now)
        : eb.or([eb('lease_until', '<=', now), eb('owner', 'in', deadOwners)]),
    )
    .returningAll()
    .execute();
  for (const row of recovered) await announce(tx, row, 'recovered');
  return recovered.map(({ kind }) => kind as WorkKind);
}

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

/** Claims up to `count` ready items for `owner`; each claim raises the item's fence. */
export async function claim(
  tx: StoreTransaction,
  kinds: readonly WorkKind[],
  owner: string,
  count: number,
  now: number,
): Promise<Selectable<WorkRow>[]> {
  const values = { kinds, owner, leaseUntil: now + limits.leaseMs, now };
  const rows = await claimItems({ kinds: kinds.length, count }).all(tx.db, values);
  // They are updated in any order, but go by their turn.
  rows.sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
  // An item that waited or was recovered is claimed again; it has started only once.
  for (const row of rows) if (row.fence === 1) await announce(tx, row, 'started');
  return rows;
}

/** The row if this claim still holds: same owner, same fence. */
export async function owned(
  db: Transaction<Schema>,
  claimed: { readonly id: string; readonly owner: string; readonly fence: number },
): Promise<Selectable<WorkRow> | undefined> {
  return ownedItem.first(db, claimed);
}

/** Ends an item for good and wakes whoever waits for it. The caller has checked that it may. */
export async function finish(
  tx: StoreTransaction,
  id: string,
  end:
    | { readonly state: 'succeeded'; readonly output: unknown }
    | { readonly state: 'failed' | 'cancelled'; readonly error: StoredError },
  now: number,
): Promise<void> {
  const row = await endItem.first(tx.db, {
    id,
    state: end.state,
    output: end.state === 'succeeded' ? JSON.stringify(end.output ?? null) : null,
    error: end.state === 'succeeded' ? null : JSON.stringify(end.error),
    now,
  });
  if (row === undefined) throw new TypeError(`there is no work item ${id}`);
  await announce(tx, row, end.state);
  await wake(tx, endOf(id));
  tx.wake('work');
}

/** Readies the items that wait for `wakeOn`, at most `count` of them, first come first served. */
export async function wake(
  tx: StoreTransaction,
  wakeOn: string,
  count: number = limits.workConcurrency,
): Promise<void> {
  await readyWaiting({ count }).send(tx.db, { wakeOn });
  // Those that look right now whether they have to wait at all: see expectWake().
  await tellRunning.send(tx.db, { wakeOn });
  tx.wake('work');
}

/**
 * Says that a running item is about to look for something it may have to wait for. If that happens
 * after the look and before the item is put aside, it is ready again at once.
 */
export async function expectWake({ db }: StoreTransaction, id: string, wakeOn: string): Promise<void> {
  await setWakeOn.send(db, { id, wakeOn });
}

/** Gives a running item back to the queue. */
export async function handBack(tx: StoreTransaction, id: string): Promise<void> {
  await tx.db
    .updateTable('work_items')
    .set({ state: 'queued', owner: null, lease_until: null, wake_on: null })
    .where('id', '=', id)
    .execute();
  tx.wake('work');
}

/** Puts an item aside until what it waits for happens; at once ready again if it already has. */
export async function putAside(
  tx: StoreTransaction,
  row: Selectable<WorkRow>,
  wait: { readonly childId?: string; readonly wakeOn?: string; readonly atLatestMs?: number },
  now: number,
): Promise<void> {
  const child = wait.childId === undefined ? undefined : await itemById.first(tx.db, { id: wait.childId });
  // What the run could not know: the child has ended, the event has happened, it was asked to stop.
  const ready =
    wait.childId === undefined
      ? (wait.wakeOn !== undefined && row.wake_on !== wait.wakeOn) || (row.stop_reason !== null && row.error === null)
      : child === undefined || isFinal(child.state as WorkState);
  const updated = await asideItem.first(tx.db, {
    id: row.id,
    state: ready ? 'queued' : 'waiting',
    wake_on: wait.childId === undefined ? (wait.wakeOn ?? null) : endOf(wait.childId),
    run_after: wait.atLatestMs === undefined ? never : now + wait.atLatestMs,
    wait_ms: wait.atLatestMs ?? null,
  });
  if (updated === undefined) throw new TypeError(`there is no work item ${row.id}`);
  if (ready) tx.wake('work');
  else if (wait.childId === undefined) await announce(tx, updated, 'waiting');
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
    await finish(tx, id, { state: reason.code === 'aborted' ? 'cancelled' : 'failed', error: reason }, now);
    return;
  }
  await tx.db
    .updateTable('work_items')
    .set({
      stop_reason: row.stop_reason ?? JSON.stringify(reason),
      ...(row.state === 'waiting' && { state: 'queued' }),
    })
    .where('id', '=', id)
    .execute();
  tx.wake('work');
}

/** Asks what an item started to stop. Gives a child that has not ended yet, if there is one. */
export async function stopChildren(
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
