import type { Selectable, Transaction } from 'kysely';
import { BringupError, type StoredError } from '../errors.ts';
import type { WorkVerb } from '../events.ts';
import type { WorkKind, WorkState } from '../model/work.ts';
import { isFinal } from '../model/work.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { Schema } from '../store/schema.ts';
import type { NewClaim, StoreTransaction } from '../store/store.ts';
import { limits } from '../limits.ts';
import {
  addItem,
  asideItem,
  claimItems,
  endItem,
  itemById,
  ownedItem,
  readyWaiting,
  setWakeOn,
  startItems,
  tellRunning,
  unfinishedBeyond,
  type Claim,
} from './queue-queries.ts';
import { askForFamily, noteEnd } from './family.ts';
import { children, endOf, never, toWorkEvent, type ToldOfItem } from './records.ts';

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

/** Tells everybody what happened to an item. */
export async function announce(tx: StoreTransaction, row: ToldOfItem, verb: WorkVerb): Promise<void> {
  await tx.emit(`${row.kind as WorkKind}:${verb}`, row.id, toWorkEvent(row));
}

/** Has work of a kind that is ready now be claimed: in this very transaction where its process has room, else wherever there is. */
export function ready(tx: StoreTransaction, kind: string): void {
  tx.beforeCommit('ready', kind);
  tx.wake('work');
}

/** Puts a new item into the queue. Where there is room for it, it is claimed as it is added. */
export async function enqueue(tx: StoreTransaction, work: NewWork, now: number): Promise<void> {
  await begin(tx, await addWork(tx, work, now));
}

/** A new item, and its claim where it has one: {@link begin} lets it go. */
export interface AddedWork {
  readonly row: Selectable<WorkRow>;
  readonly claim: NewClaim | undefined;
}

/** Adds a new item which {@link begin} lets go, once it has been told what goes before that. */
export async function addWork(tx: StoreTransaction, work: NewWork, now: number): Promise<AddedWork> {
  const queued = toRow(work, now);
  const claim = tx.claimNew(work.kind);
  const row =
    claim === undefined
      ? queued
      : { ...queued, state: 'running', owner: claim.owner, lease_until: claim.leaseUntil, fence: 1, started_at: now };
  await add(tx, row);
  return { row, claim };
}

/** Starts what was added with a claim, queues what was not. */
export async function begin(tx: StoreTransaction, { row, claim }: AddedWork): Promise<void> {
  if (claim === undefined) {
    ready(tx, row.kind);
    return;
  }
  await announce(tx, row, 'started');
  claim.took(row);
  tx.wake('work');
}

/** Adds an item that nobody claims: it goes from one of its children to the next, see flows.ts. */
export async function addFlow(tx: StoreTransaction, work: NewWork, now: number): Promise<void> {
  await add(tx, { ...toRow(work, now), state: 'waiting', wake_on: children, run_after: never });
  void askForFamily(tx, work.id).catch(() => undefined);
  tx.beforeCommit('parents', work.id);
}

async function add(tx: StoreTransaction, row: Selectable<WorkRow>): Promise<void> {
  await addItem(tx.db, row);
  await announce(tx, row, 'queued');
}

/** A new item as it is queued. */
export function toRow(work: NewWork, now: number): Selectable<WorkRow> {
  return {
    id: work.id,
    kind: work.kind,
    state: 'queued',
    phase: null,
    input: JSON.stringify(work.input),
    checkpoint: null,
    output: null,
    error: null,
    parent_id: work.parentId ?? null,
    child_key: work.childKey ?? null,
    wake_on: null,
    priority: work.priority ?? 0,
    run_after: now,
    wait_ms: null,
    deadline_at: work.timeoutMs === undefined ? null : now + work.timeoutMs,
    stop_reason: null,
    takeovers: 0,
    traceparent: work.traceparent ?? null,
    owner: null,
    lease_until: null,
    fence: 0,
    created_at: now,
    started_at: null,
    finished_at: null,
  };
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
  const due = await tx.db
    .updateTable('work_items')
    .set({ state: 'queued', wake_on: null })
    .where('state', '=', 'waiting')
    .where('run_after', '<=', now)
    .returning('kind')
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
  for (const { kind } of [...due, ...recovered]) ready(tx, kind);
  return recovered.map(({ kind }) => kind as WorkKind);
}

/** Claims up to `count` ready items for `owner`; each claim raises the item's fence. */
export async function claim(
  tx: StoreTransaction,
  kinds: readonly WorkKind[],
  owner: string,
  count: number,
  now: number,
): Promise<Selectable<WorkRow>[]> {
  const values = { kinds, owner, leaseUntil: now + limits.leaseMs, now, wakeOn: children };
  const rows = await claimItems({ kinds: kinds.length, count }).all(tx.db, values);
  // They are updated in any order, but go by their turn.
  rows.sort((a, b) => b.priority - a.priority || (a.id < b.id ? -1 : 1));
  // An item that waited or was recovered is claimed again; it has started only once.
  const first = rows.filter(({ fence }) => fence === 1);
  // An item that goes from child to child has started when the first of them has.
  const parents = [...new Set(first.flatMap(({ opens }) => opens ?? []))];
  const flows =
    parents.length === 0 ? [] : await startItems({ count: parents.length }).all(tx.db, { ids: parents, now });
  for (const row of [...flows, ...first]) await announce(tx, row, 'started');
  return rows;
}

/** The row if this claim still holds: same owner, same fence. */
export async function owned(db: Transaction<Schema>, claimed: Claim): Promise<Selectable<WorkRow> | undefined> {
  return ownedItem.first(db, claimed);
}

/** Ends an item for good; its parent goes on. The caller has checked that it may. */
export async function finish(
  tx: StoreTransaction,
  row: Selectable<WorkRow>,
  end:
    | { readonly state: 'succeeded'; readonly output: unknown }
    | { readonly state: 'failed' | 'cancelled'; readonly error: StoredError },
  now: number,
): Promise<void> {
  const error = end.state === 'succeeded' ? null : JSON.stringify(end.error);
  await endItem.send(tx.db, {
    id: row.id,
    state: end.state,
    output: end.state === 'succeeded' ? JSON.stringify(end.output ?? null) : null,
    error,
    now,
  });
  await announce(tx, { ...row, error: error ?? row.error }, end.state);
  await noteEnd(tx, row, { state: end.state, error });
  if (row.parent_id !== null) tx.beforeCommit('parents', row.parent_id);
  tx.wake(endOf(row.id));
  tx.wake('work');
}

/** Readies the items that wait for `wakeOn`, at most `count` of them, first come first served. */
export async function wake(
  tx: StoreTransaction,
  wakeOn: string,
  count: number = limits.workConcurrency,
): Promise<void> {
  const woken = readyWaiting({ count }).ahead(tx.db, { wakeOn });
  // Those that look right now whether they have to wait at all: see expectWake().
  await tellRunning.send(tx.db, { wakeOn });
  for (const { kind } of await woken()) ready(tx, kind);
}

/**
 * Says that a running item is about to look for something it may have to wait for. If that happens
 * after the look and before the item is put aside, it is ready again at once.
 */
export async function expectWake({ db }: StoreTransaction, id: string, wakeOn: string): Promise<void> {
  await setWakeOn.send(db, { id, wakeOn });
}

/** Gives a running item back to the queue. */
export async function handBack(
  tx: StoreTransaction,
  { id, kind }: { readonly id: string; readonly kind: WorkKind },
): Promise<void> {
  await tx.db
    .updateTable('work_items')
    .set({ state: 'queued', owner: null, lease_until: null, wake_on: null })
    .where('id', '=', id)
    .execute();
  ready(tx, kind);
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
  const goesOn =
    wait.childId === undefined
      ? (wait.wakeOn !== undefined && row.wake_on !== wait.wakeOn) || (row.stop_reason !== null && row.error === null)
      : child === undefined || isFinal(child.state as WorkState);
  const updated = await asideItem.first(tx.db, {
    id: row.id,
    state: goesOn ? 'queued' : 'waiting',
    wake_on: wait.childId === undefined ? (wait.wakeOn ?? null) : endOf(wait.childId),
    run_after: wait.atLatestMs === undefined ? never : now + wait.atLatestMs,
    wait_ms: wait.atLatestMs ?? null,
  });
  if (updated === undefined) throw new TypeError(`there is no work item ${row.id}`);
  if (goesOn) ready(tx, row.kind);
  else if (wait.childId === undefined) await announce(tx, updated, 'waiting');
}
