import { limits } from '../limits.ts';
import type { AlertType } from '../model/alert.ts';
import type { Store } from '../store/store.ts';
import { endAlert } from './raise.ts';

/** Trouble that happened, unlike trouble that lasts: nobody notices when it is over. */
const happenings: readonly AlertType[] = ['build-failed', 'deployment-failed', 'pipeline-failed', 'test-failed'];

/**
 * Forgets alerts that have been over for `limits.alertKeepMs`, the oldest of more than
 * `limits.alertsKept`, and what was delivered of them. What failed that long ago, and nobody tried
 * again or resolved, counts as over.
 */
export async function forgetOldAlerts(store: Store, now: number): Promise<void> {
  const old = now - limits.alertKeepMs;
  await store.transaction(async (tx) => {
    const stale = await tx.db
      .selectFrom('alerts')
      .select('id')
      .where('type', 'in', happenings)
      .where('resolved_at', 'is', null)
      .where('last_seen_at', '<=', old)
      .limit(limits.pageSize)
      .execute();
    for (const { id } of stale) await endAlert(tx, id, 'nobody tried again', now);
    const resolved = tx.db.selectFrom('alerts').select('id').where('resolved_at', 'is not', null);
    const beyond = await resolved.orderBy('id', 'desc').offset(limits.alertsKept).limit(1).executeTakeFirst();
    await tx.db
      .deleteFrom('alerts')
      .where('resolved_at', 'is not', null)
      .where((eb) =>
        eb.or([eb('resolved_at', '<=', old), ...(beyond === undefined ? [] : [eb('id', '<=', beyond.id)])]),
      )
      .execute();
    await tx.db
      .deleteFrom('work_items')
      .where('kind', '=', 'notification')
      .where('parent_id', 'is', null)
      .where('finished_at', '<=', old)
      .execute();
  });
}
