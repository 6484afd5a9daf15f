import { sql } from 'kysely';
import type { Architecture } from '../model/architecture.ts';
import type { BuildQueueStatus, BuildStatistics } from '../model/build.ts';
import type { Store } from '../store/store.ts';

/** Which builds are counted. All that is set must hold. */
export interface BuildStatisticsFilter {
  readonly serverId?: string;
  readonly sourceRepository?: string;
  readonly branch?: string;
  readonly targetArchitecture?: Architecture;
  /** Only those submitted at or after this time, milliseconds since the Unix epoch. */
  readonly since?: number;
}

/** How the builds that a filter leaves have ended, and how long those that succeeded took. */
export async function buildStatistics(store: Store, filter: BuildStatisticsFilter): Promise<BuildStatistics> {
  const { serverId, sourceRepository, branch, targetArchitecture, since } = filter;
  let query = store.db
    .selectFrom('builds')
    .innerJoin('work_items', 'work_items.id', 'builds.id')
    .select(({ fn }) => [
      'work_items.state',
      fn.countAll<number>().as('builds'),
      sql<number | null>`avg(finished_at - started_at)`.as('average_ms'),
    ])
    .where('work_items.state', 'in', ['succeeded', 'failed', 'cancelled'])
    .groupBy('work_items.state');
  if (serverId !== undefined) query = query.where('server_id', '=', serverId);
  if (sourceRepository !== undefined) query = query.where('repository', '=', sourceRepository);
  if (branch !== undefined) query = query.where('branch', '=', branch);
  if (targetArchitecture !== undefined) query = query.where('architecture', '=', targetArchitecture);
  if (since !== undefined) query = query.where('created_at', '>=', since);
  const rows = new Map((await query.execute()).map((row) => [row.state, row]));
  const count = (state: string): number => Number(rows.get(state)?.builds ?? 0);
  const [completed, failed, cancelled] = [count('succeeded'), count('failed'), count('cancelled')];
  const averageMs = rows.get('succeeded')?.average_ms ?? undefined;
  return {
    completed,
    failed,
    cancelled,
    ...(completed + failed > 0 && { successRate: completed / (completed + failed) }),
    ...(averageMs !== undefined && { averageSeconds: Number(averageMs) / 1000 }),
  };
}

/** What is queued and under way, over all servers. */
export async function buildQueueStatus(store: Store): Promise<BuildQueueStatus> {
  const rows = await store.db
    .selectFrom('work_items')
    .innerJoin('builds', 'builds.id', 'work_items.id')
    .select(({ fn }) => [
      'work_items.state',
      'builds.architecture',
      fn.countAll<number>().as('builds'),
      fn.min('work_items.created_at').as('oldest'),
    ])
    .where('work_items.state', 'in', ['queued', 'waiting', 'running'])
    .groupBy(['work_items.state', 'builds.architecture'])
    .execute();
  const queued = rows.filter(({ state }) => state !== 'running');
  const sum = (counted: typeof rows): number => counted.reduce((total, row) => total + Number(row.builds), 0);
  const byArchitecture: Partial<Record<Architecture, number>> = {};
  for (const row of queued) {
    const architecture = row.architecture as Architecture;
    byArchitecture[architecture] = (byArchitecture[architecture] ?? 0) + Number(row.builds);
  }
  const oldest = queued.map((row) => Number(row.oldest));
  return {
    queued: sum(queued),
    building: sum(rows.filter(({ state }) => state === 'running')),
    queuedByArchitecture: byArchitecture,
    ...(oldest.length > 0 && { oldestQueuedAt: Math.min(...oldest) }),
  };
}
