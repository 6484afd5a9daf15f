import { limits } from '../limits.ts';
import type { CapacityRequest, Reservation } from '../pool/reservations.ts';
import { release } from '../pool/reservations.ts';
import { grantTopic } from '../pool/waiting-list.ts';
import { endWaiting, placeOf } from '../pool/waiting-records.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { WorkContext } from '../work/handler.ts';
import { noMatch } from './outcome.ts';
import type { Selection } from './select.ts';

/** What a work item asks for. */
export interface Wanted<T> {
  readonly request: CapacityRequest;
  /** The work that the reservation lasts as long as. Default: the item itself. */
  readonly holder?: string;
  /** How long it will be held, as far as anybody knows. */
  readonly expectedMs?: number;
  /**
   * Written in the same transaction as the grant is taken: the checkpoint, above all. What it gives is
   * given to whoever asked.
   */
  readonly record: (tx: StoreTransaction, reservation: Reservation) => Promise<T>;
}

/**
 * Reserves for a work item. When nothing is free the item takes a place on the waiting list and
 * steps aside; it is run again from its start once something was granted to it, and finds it here.
 * @throws `no-match` when nothing in the pool can ever meet the request as it is.
 */
export async function obtain<C, T>(context: WorkContext<C>, selection: Selection, wanted: Wanted<T>): Promise<T> {
  const { request, holder = context.id, expectedMs, record } = wanted;
  const topic = grantTopic(context.id);
  const answer = await context.transaction(async (tx) => {
    await context.expectIn(tx, topic);
    const given = await selection.obtain(tx, {
      request,
      holder,
      waiter: context.id,
      priority: context.priority,
      ...(expectedMs !== undefined && { expectedMs }),
    });
    return given.state === 'granted' ? { ...given, recorded: await record(tx, given.reservation) } : given;
  });
  if (answer.state === 'granted') return answer.recorded;
  if (answer.state === 'unfit') {
    throw noMatch(request, await selection.explain(request, answer.refusals));
  }
  await context.phase('waiting');
  return context.stepAside({ wakeOn: topic, atLatestMs: limits.waitingRecheckMs });
}

/** Gives up a work item's place on the waiting list, and what was granted to it but not taken. */
export async function giveUpWaiting(tx: StoreTransaction, workId: string): Promise<void> {
  const place = await placeOf(tx, { waiter: workId });
  if (place === undefined) return;
  if (place.state === 'granted') await release(tx, place.id);
  await endWaiting(tx, place, place.state === 'granted' ? 'collected' : 'withdrawn');
}
