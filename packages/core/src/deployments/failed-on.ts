import { buildLogId } from '../builds/services.ts';
import type { Store } from '../store/store.ts';
import { bootLogId } from './records.ts';

/** Builds and deployments that failed on a resource, newest first, with the ids of their logs. */
export async function failedOn(
  { db }: Store,
  resourceId: string,
  limit: number,
): Promise<{ readonly id: string; readonly logId: string }[]> {
  const builds = await db
    .selectFrom('builds')
    .innerJoin('work_items', 'work_items.id', 'builds.id')
    .select('builds.id')
    .where('builds.server_id', '=', resourceId)
    .where('work_items.state', '=', 'failed')
    .orderBy('builds.id', 'desc')
    .limit(limit)
    .execute();
  const deployments = await db
    .selectFrom('deployments')
    .innerJoin('work_items', 'work_items.id', 'deployments.id')
    .select(['deployments.id', 'deployments.boot_id'])
    .where('deployments.target_id', '=', resourceId)
    .where('work_items.state', '=', 'failed')
    .orderBy('deployments.id', 'desc')
    .limit(limit)
    .execute();
  return [
    ...builds.map(({ id }) => ({ id, logId: buildLogId(id) })),
    ...deployments.map(({ id, boot_id }) => ({ id, logId: bootLogId(boot_id ?? '') })),
  ]
    .sort((a, b) => (a.id < b.id ? 1 : -1))
    .slice(0, limit);
}
