import { createHash } from 'node:crypto';
import type { Selectable } from 'kysely';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ResourceKind } from '../model/resource.ts';
import { prepared, type Bind } from '../store/prepared.ts';
import type { WaitingRow } from '../store/schema/waiting.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { offerToWaiting, toReservation, type CapacityRequest, type Reservation } from './reservations.ts';

/** A request as it is put on the waiting list. */
export interface NewWaiting {
  /** Becomes the id of its reservation. */
  readonly id: string;
  readonly holder: string;
  /** Work item to wake when it is granted. */
  readonly waiter?: string;
  /** Its own and what policies add. */
  readonly priority: number;
  /** How long it will hold what it gets, as far as anybody knows. */
  readonly expectedMs?: number;
  /** Taken off the list then. */
  readonly deadlineAt?: number;
  readonly now: number;
}

/**
 * Whose turn it is: the lowest is first. A point of priority is worth having come
 * `limits.waitingPriorityMs` earlier, so age outdoes any priority in the end; and since all grow old
 * at the same pace, the order never changes and can be an index.
 */
export function rankOf(now: number, priority: number): number {
  const points = Math.max(-limits.waitingMaxPriority, Math.min(limits.waitingMaxPriority, priority));
  return Math.round(now - points * limits.waitingPriorityMs);
}

/** What a request asks for, apart from who asks and what they would like best. */
function shapeOf({
  preferred: _preferred,
  repository: _repository,
  firmwareVersion: _version,
  ...request
}: CapacityRequest): { id: string; request: string } {
  const json = JSON.stringify({
    ...request,
    traits: request.traits.map((group) => group.map(({ trait }) => trait).join(' | ')).sort(),
  });
  return { id: createHash('sha256').update(json).digest('base64url'), request: JSON.stringify(request) };
}

/**
 * Keeps requests from outside of work items from filling the list; how many work items there are is bounded.
 * @throws `unavailable`.
 */
export async function refuseTooManyWaiting({ db }: StoreTransaction): Promise<void> {
  const last = await db
    .selectFrom('waiting')
    .select('id')
    .where('state', '=', 'waiting')
    .limit(1)
    .offset(limits.waitingRequestsMax - 1)
    .executeTakeFirst();
  if (last === undefined) return;
  const message = `${limits.waitingRequestsMax} requests wait for a resource already; try again later`;
  throw new BringupError('unavailable', message, { retryable: true, details: { limit: limits.waitingRequestsMax } });
}

/** Puts a request on the list. */
export async function enqueueWaiting(tx: StoreTransaction, request: CapacityRequest, entry: NewWaiting): Promise<void> {
  const shape = shapeOf(request);
  const { kind, architecture, use, minimum } = request;
  const rank = rankOf(entry.now, entry.priority);
  const { seq } = await tx.db
    .insertInto('waiting')
    .values({
      id: entry.id,
      shape: shape.id,
      kind,
      architecture,
      holder: entry.holder,
      waiter: entry.waiter ?? null,
      state: 'waiting',
      priority: entry.priority,
      rank,
      preferred: request.preferred ?? null,
      expected_ms: entry.expectedMs ?? null,
      enqueued_at: entry.now,
      deadline_at: entry.deadlineAt ?? null,
      held_id: null,
    })
    .returning('seq')
    .executeTakeFirstOrThrow();
  await tx.db
    .insertInto('waiting_shapes')
    .values({
      id: shape.id,
      kind,
      architecture,
      only_id: request.only ?? '',
      trait: request.traits.find((group) => group.length === 1)?.[0]?.trait ?? '',
      slots: use.slots,
      cpu: Math.max(use.cpu, minimum.cpu),
      memory_mb: Math.max(use.memoryMb, minimum.memoryMb),
      storage_gb: Math.max(use.storageGb, minimum.storageGb),
      request: shape.request,
      waiting: 1,
      first_rank: rank,
      first_seq: seq,
    })
    .onConflict((conflict) =>
      conflict.column('id').doUpdateSet((eb) => ({ waiting: eb('waiting_shapes.waiting', '+', 1) })),
    )
    .execute();
  // Of equal rank the one that came earlier stays first.
  await tx.db
    .updateTable('waiting_shapes')
    .set({ first_rank: rank, first_seq: seq })
    .where('id', '=', shape.id)
    .where('first_rank', '>', rank)
    .execute();
  await tx.emit('reservation:waiting', entry.id, { id: entry.id, kind, architecture, holder: entry.holder });
}

const placeColumns = ['id', 'shape', 'state', 'held_id', 'holder'] as const;

/** A place on the list. */
export type Place = Pick<Selectable<WaitingRow>, (typeof placeColumns)[number]>;

const placeById = prepared((db, p: Bind<{ key: string }>) =>
  db.selectFrom('waiting').select(placeColumns).where('id', '=', p('key')),
);

const placeByWaiter = prepared((db, p: Bind<{ key: string }>) =>
  db.selectFrom('waiting').select(placeColumns).where('waiter', '=', p('key')),
);

/** The place that a work item, or else a request of that id, has on the list. */
export async function placeOf(
  { db }: StoreTransaction,
  of: { readonly waiter?: string; readonly id?: string },
): Promise<Place | undefined> {
  const { waiter, id } = of;
  if (waiter === undefined && id === undefined) return undefined;
  return waiter === undefined ? placeById.first(db, { key: id ?? '' }) : placeByWaiter.first(db, { key: waiter });
}

/** A reservation that has not ended. */
export async function activeReservation(
  { db }: Pick<StoreTransaction | Store, 'db'>,
  id: string,
): Promise<Reservation | undefined> {
  const row = await reservationById.first(db, { id });
  return row && toReservation(row);
}

const reservationById = prepared((db, p: Bind<{ id: string }>) =>
  db.selectFrom('reservations').selectAll().where('id', '=', p('id')),
);

/** Ends the waiting of a request: it was granted and stays to be collected, it was collected, or it got nothing. */
export async function endWaiting(
  tx: StoreTransaction,
  row: Place,
  how: 'granted' | 'collected' | 'withdrawn',
): Promise<void> {
  await (how === 'granted' ? markGranted : dropPlace).send(tx.db, { id: row.id });
  if (row.state !== 'waiting') return;
  if (row.held_id !== null) {
    await tx.db.updateTable('resources').set({ held_rank: null }).where('id', '=', row.held_id).execute();
    offerToWaiting(tx, row.held_id);
  }
  await countOff.send(tx.db, { shape: row.shape });
  await dropEmpty.send(tx.db, { shape: row.shape });
  if (how === 'withdrawn') {
    await tx.emit('reservation:withdrawn', row.id, { id: row.id, holder: row.holder });
    tx.wake('grants');
  }
}

const markGranted = prepared((db, p: Bind<{ id: string }>) =>
  db.updateTable('waiting').set({ state: 'granted', held_id: null }).where('id', '=', p('id')),
);

const dropPlace = prepared((db, p: Bind<{ id: string }>) => db.deleteFrom('waiting').where('id', '=', p('id')));

/** One fewer waits in a shape: another one may be the first. */
const countOff = prepared((db, p: Bind<{ shape: string }>) =>
  db
    .updateTable('waiting_shapes')
    .from((eb) =>
      eb
        .selectFrom('waiting')
        .select(['waiting.rank', 'waiting.seq'])
        .where('waiting.shape', '=', p('shape'))
        .where('waiting.state', '=', 'waiting')
        .orderBy('waiting.rank')
        .orderBy('waiting.seq')
        .limit(1)
        .as('first'),
    )
    .set((eb) => ({
      waiting: eb('waiting_shapes.waiting', '-', 1),
      first_rank: eb.ref('first.rank'),
      first_seq: eb.ref('first.seq'),
    }))
    .where('waiting_shapes.id', '=', p('shape')),
);

const dropEmpty = prepared((db, p: Bind<{ shape: string }>) =>
  db
    .deleteFrom('waiting_shapes')
    .where('id', '=', p('shape'))
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('waiting')
            .select('waiting.seq')
            .where('waiting.shape', '=', p('shape'))
            .where('waiting.state', '=', 'waiting'),
        ),
      ),
    ),
);

/** Whether anybody waits for a resource of the kind. */
export async function anyWaiting({ db }: StoreTransaction, kind: ResourceKind): Promise<boolean> {
  return (await shapesOf.first(db, { kind })) !== undefined;
}

const shapesOf = prepared((db, p: Bind<{ kind: ResourceKind }>) =>
  db.selectFrom('waiting_shapes').select('id').where('kind', '=', p('kind')).limit(1),
);
