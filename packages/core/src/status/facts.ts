import { sql } from 'kysely';
import { limits } from '../limits.ts';
import type { LabStatus } from '../model/lab-status.ts';
import type { WorkKind } from '../model/work.ts';
import { cleanupChore } from '../artifacts/room.ts';
import type { Store } from '../store/store.ts';

/** Parts of a status that are read from the database. Each query reads a bounded number of rows. */
export interface StoredFacts extends Required<Pick<LabStatus, 'recovery' | 'waiting' | 'alerts'>> {
  readonly work: Pick<LabStatus['work'], 'queued' | 'oldestQueued'>;
  readonly shardsWatched: number;
  /** Whether there is anything to watch. */
  readonly anyResource: boolean;
  /** Since when the artifact storage has been full. */
  readonly fullSince: number | undefined;
}

const count = sql<number>`count(*)`;

/** Reads them. @throws `store-failed`. */
export async function readFacts(store: Store, now: number): Promise<StoredFacts> {
  const { db } = store;
  const full = await db.selectFrom('conditions').select('since').where('name', '=', 'storage-full').executeTakeFirst();
  const { shards } = await db
    .selectFrom('monitor_leases')
    .select(count.as('shards'))
    .where('lease_until', '>', now)
    .executeTakeFirstOrThrow();
  const resource = await db.selectFrom('resources').select('id').limit(1).executeTakeFirst();
  return {
    work: await queuedWork(store, now),
    recovery: { overdueMs: await overdue(store, now) },
    waiting: await waitingRequests(store, now),
    alerts: { open: await openAlerts(store), undelivered: await undelivered(store) },
    shardsWatched: Number(shards),
    anyResource: resource !== undefined,
    fullSince: full?.since,
  };
}

async function queuedWork({ db }: Store, now: number): Promise<StoredFacts['work']> {
  const { queued } = await db
    .selectFrom((eb) =>
      eb.selectFrom('work_items').select('id').where('state', '=', 'queued').limit(limits.statusRows).as('ready'),
    )
    .select(count.as('queued'))
    .executeTakeFirstOrThrow();
  // In the order of their turn: what never comes to its turn is last.
  const oldest = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('work_items')
        .select(['id', 'kind', 'created_at', 'started_at'])
        .where('state', '=', 'queued')
        .limit(limits.statusRows)
        .as('ready'),
    )
    .select(['id', 'kind', 'created_at'])
    .where('started_at', 'is', null)
    .orderBy('created_at')
    .limit(1)
    .executeTakeFirst();
  return {
    queued: Number(queued),
    ...(oldest !== undefined && {
      oldestQueued: {
        kind: oldest.kind as WorkKind,
        id: oldest.id,
        ageMs: Math.max(0, now - Number(oldest.created_at)),
      },
    }),
  };
}

/** Told by the chore that every lab has. */
async function overdue({ db }: Store, now: number): Promise<number> {
  const chore = await db.selectFrom('chores').select('due_at').where('name', '=', cleanupChore).executeTakeFirst();
  return chore === undefined ? 0 : Math.max(0, now - chore.due_at);
}

async function waitingRequests({ db }: Store, now: number): Promise<StoredFacts['waiting']> {
  const { requests, since } = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('waiting')
        .select('enqueued_at')
        .where('state', '=', 'waiting')
        .orderBy('seq')
        .limit(limits.statusRows)
        .as('line'),
    )
    .select((eb) => [count.as('requests'), eb.fn.min<number | null>('enqueued_at').as('since')])
    .executeTakeFirstOrThrow();
  return { requests: Number(requests), ...(since !== null && { oldestMs: Math.max(0, now - Number(since)) }) };
}

async function openAlerts({ db }: Store): Promise<number> {
  const { open } = await db
    .selectFrom((eb) =>
      eb.selectFrom('alerts').select('id').where('state', '=', 'open').limit(limits.statusRows).as('present'),
    )
    .select(count.as('open'))
    .executeTakeFirstOrThrow();
  return Number(open);
}

async function undelivered({ db }: Store): Promise<number> {
  const { failed } = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('deliveries')
        .innerJoin('work_items', 'work_items.id', 'deliveries.id')
        .select('state')
        .orderBy('deliveries.id', 'desc')
        .limit(limits.statusDeliveries)
        .as('newest'),
    )
    .select(count.as('failed'))
    .where('state', '=', 'failed')
    .executeTakeFirstOrThrow();
  return Number(failed);
}
