import { endAlert } from '../alerts/raise.ts';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { SharedChore } from '../store/chores.ts';
import type { Store } from '../store/store.ts';

/**
 * Looks after what policies leave behind: who was asked for an approval and let it expire is asked no
 * more, and old decisions and approvals are forgotten. Only reads when there is nothing to do.
 */
export async function tendPolicies(store: Store, clock: Clock, forgetting: SharedChore): Promise<void> {
  await endExpiredWishes(store, clock.now());
  if (await forgetting.take()) {
    await forgetOldDecisions(store, clock.now());
  }
}

async function endExpiredWishes(store: Store, now: number): Promise<void> {
  const expired = await store.db
    .selectFrom('alerts')
    .innerJoin('group_approvals', 'group_approvals.id', 'alerts.subject')
    .select('alerts.id')
    .where('alerts.type', '=', 'approval-wanted')
    .where('alerts.resolved_at', 'is', null)
    .where('group_approvals.state', '=', 'wanted')
    .where('group_approvals.expires_at', '<=', now)
    .limit(limits.pageSize)
    .execute();
  if (expired.length === 0) return;
  await store.transaction(async (tx) => {
    for (const { id } of expired) await endAlert(tx, id, 'nobody decided on it in time', now);
  });
}

async function forgetOldDecisions(store: Store, now: number): Promise<void> {
  const old = now - limits.policyDecisionKeepMs;
  const newestOld = await store.db
    .selectFrom('policy_decisions')
    .select(({ fn }) => fn.max<number | null>('seq').as('seq'))
    .where('at', '<=', old)
    .executeTakeFirstOrThrow();
  const beyond = await store.db
    .selectFrom('policy_decisions')
    .select('seq')
    .orderBy('seq', 'desc')
    .offset(limits.policyDecisionsKept)
    .limit(1)
    .executeTakeFirst();
  const last = Math.max(newestOld.seq ?? 0, beyond?.seq ?? 0);
  // A busy pool decides often: allocations must not wait for one long deletion.
  for (let deleted: number = limits.policySweepRows; deleted === limits.policySweepRows;) {
    deleted = await store.transaction(async ({ db }) => {
      const some = db
        .selectFrom('policy_decisions')
        .select('seq')
        .where('seq', '<=', last)
        .orderBy('seq')
        .limit(limits.policySweepRows);
      const { numDeletedRows } = await db.deleteFrom('policy_decisions').where('seq', 'in', some).executeTakeFirst();
      return Number(numDeletedRows);
    });
  }
  await store.transaction(async ({ db }) => {
    await db.deleteFrom('group_approvals').where('expires_at', '<=', old).execute();
  });
}
