import type { Clock } from '../contracts/runtime.ts';
import type { ReleaseInput } from '../deployments/release-handler.ts';
import { limits } from '../limits.ts';
import { endFarLeases, extend, release, renewHeld } from '../pool/reservations.ts';
import { tendWaitingList } from '../pool/waiting-upkeep.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import type { FarTimes } from '../store/far-times.ts';

/**
 * Looks after the waiting list, renews what unfinished work holds, and frees what has run out: of an
 * environment first what runs there, then what it took. So nothing is held for ever.
 */
export async function keepReservations(store: Store, work: WorkEngine, clock: Clock, far: FarTimes): Promise<void> {
  await tendWaitingList(store, clock);
  await endFarLeases(store, far, clock.now());
  for (const expired of await renewHeld(store, clock.now())) {
    const environment = await store.db
      .selectFrom('environments')
      .select(['id', 'deployment_id'])
      .where('reservation_id', '=', expired.id)
      .executeTakeFirst();
    if (environment === undefined) {
      await store.transaction((tx) => release(tx, expired.id, 'expired'));
    } else if (await isTested(store, environment.id)) {
      const lease = { now: clock.now(), leaseMs: limits.reservationMs };
      await store.transaction((tx) => extend(tx, expired.id, lease));
    } else {
      const input: ReleaseInput = { environmentId: environment.id };
      await work.submitOnce('release', input, { parentId: environment.deployment_id, key: 'expired' });
    }
  }
}

/** A test run that is under way is not pulled the ground from under: it has its own bound in time. */
async function isTested(store: Store, environmentId: string): Promise<boolean> {
  const running = await store.db
    .selectFrom('test_runs')
    .innerJoin('work_items', 'work_items.id', 'test_runs.id')
    .innerJoin('deployments', 'deployments.id', 'test_runs.deployment_id')
    .select('test_runs.id')
    .where('deployments.environment_id', '=', environmentId)
    .where('work_items.state', 'in', ['queued', 'running', 'waiting'])
    .limit(1)
    .executeTakeFirst();
  return running !== undefined;
}
