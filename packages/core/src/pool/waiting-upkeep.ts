import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { Store } from '../store/store.ts';
import { wake } from '../work/queue.ts';
import type { CapacityRequest } from './reservations.ts';
import { offerToWaiting } from './reservations.ts';
import { available, suitable } from './suitable.ts';
import { grantTopic } from './waiting-list.ts';
import { endWaiting } from './waiting-records.ts';

const finals = ['succeeded', 'failed', 'cancelled'];

/**
 * Looks after the waiting list now and then: what nobody waits for any more leaves it, what has
 * become free by other ways than a release is offered, and who waits for what can't come is woken to
 * find out. Only reads when there is nothing to do.
 */
export async function tendWaitingList(store: Store, clock: Clock): Promise<void> {
  const { db } = store;
  if ((await db.selectFrom('waiting').select('id').limit(1).executeTakeFirst()) === undefined) return;
  await dropForgotten(store, clock);
  const shapes = await db
    .selectFrom('waiting_shapes')
    .select(['id', 'request', 'first_rank'])
    .orderBy('first_rank')
    .limit(limits.pageSize)
    .execute();
  for (const shape of shapes) {
    const request = JSON.parse(shape.request) as CapacityRequest;
    const open = await available(db, request, shape.first_rank).limit(1).executeTakeFirst();
    if (open !== undefined) {
      await store.transaction(async (tx) => offerToWaiting(tx, open.id));
    } else if ((await suitable(db, request).limit(1).executeTakeFirst()) === undefined) {
      await wakeAll(store, shape.id);
    }
  }
}

async function dropForgotten(store: Store, clock: Clock): Promise<void> {
  const now = clock.now();
  const forgotten = store.db
    .selectFrom('waiting')
    .selectAll()
    .where((eb) =>
      eb.or([
        eb.and([eb('state', '=', 'waiting'), eb('deadline_at', '<=', now)]),
        eb('waiter', 'in', eb.selectFrom('work_items').select('id').where('state', 'in', finals)),
        eb.and([
          eb('state', '=', 'granted'),
          eb.not(
            eb.exists(
              eb.selectFrom('reservations').select('reservations.id').whereRef('reservations.id', '=', 'waiting.id'),
            ),
          ),
        ]),
      ]),
    )
    .limit(limits.pageSize);
  const rows = await forgotten.execute();
  if (rows.length === 0) return;
  await store.transaction(async (tx) => {
    for (const { id } of rows) {
      const row = await tx.db.selectFrom('waiting').selectAll().where('id', '=', id).executeTakeFirst();
      if (row !== undefined) await endWaiting(tx, row, row.state === 'granted' ? 'collected' : 'withdrawn');
    }
  });
}

/** Nothing can meet these any more: whoever waits is to look, and to be told. */
async function wakeAll(store: Store, shape: string): Promise<void> {
  await store.transaction(async (tx) => {
    const rows = await tx.db
      .selectFrom('waiting')
      .select('waiter')
      .where('shape', '=', shape)
      .where('state', '=', 'waiting')
      .limit(limits.pageSize)
      .execute();
    for (const { waiter } of rows) if (waiter !== null) await wake(tx, grantTopic(waiter));
    tx.wake('grants');
  });
}
