import { limits } from '../limits.ts';
import type { Store } from '../store/store.ts';
import type { FarTimes, WrittenTime } from '../store/far-times.ts';
import { never } from './records.ts';

/**
 * Makes due what clocks that are ahead have put off: claims whose owners have died, and waits. Only reads when there
 * is nothing of the sort, as it is while all clocks agree. True when something is due now.
 */
export async function endFarWork(store: Store, far: FarTimes, now: number): Promise<boolean> {
  const latest = now + limits.clockMarginMs;
  const claims = await store.db
    .selectFrom('work_items')
    .select(['id', 'lease_until'])
    .where('state', '=', 'running')
    .where('lease_until', '>', latest + limits.leaseMs)
    .limit(limits.pageSize)
    .execute();
  const waits = await store.db
    .selectFrom('work_items')
    .select(['id', 'run_after', 'wait_ms'])
    .where('state', '=', 'waiting')
    .where('run_after', '<', never)
    .where((eb) => eb(eb('run_after', '-', eb.ref('wait_ms')), '>', latest))
    .limit(limits.pageSize)
    .execute();
  const times: (WrittenTime & { readonly id: string; readonly what: 'lease_until' | 'run_after' })[] = [
    ...claims.map(({ id, lease_until: at }) => {
      return { key: `lease ${id}`, id, at: at ?? 0, lengthMs: limits.leaseMs, what: 'lease_until' as const };
    }),
    ...waits.map(({ id, run_after: at, wait_ms: lengthMs }) => {
      return { key: `wait ${id}`, id, at, lengthMs: lengthMs ?? 0, what: 'run_after' as const };
    }),
  ];
  const passed = far.passed(times);
  if (passed.length === 0) return false;
  await store.transaction(async ({ db }) => {
    for (const { id, at, what } of passed) {
      await db
        .updateTable('work_items')
        .set({ [what]: now })
        .where('id', '=', id)
        .where('state', '=', what === 'lease_until' ? 'running' : 'waiting')
        .where(what, '=', at)
        .execute();
    }
  });
  return true;
}
