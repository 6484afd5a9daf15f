import { sql } from 'kysely';
import type { Architecture } from '../model/architecture.ts';
import { limits } from '../limits.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

/** What a build time depends on. */
export interface BuildTimeKey {
  readonly repository: string;
  readonly architecture: Architecture;
  readonly serverId: string;
}

/** A build time as it is expected. */
export interface BuildTimeEstimate {
  readonly seconds: number;
  /**
   * What it was learned from: builds of this repository and architecture on this very server, on other
   * servers, or any builds on this server.
   */
  readonly basis: 'server' | 'repository' | 'other-repositories';
  /** Number of builds it was learned from. */
  readonly builds: number;
}

/** Learns from a build that succeeded. The newest counts for a quarter once there are some. */
export async function learnBuildTime(
  { db }: StoreTransaction,
  { repository, architecture, serverId }: BuildTimeKey,
  seconds: number,
  now: number,
): Promise<void> {
  await db
    .insertInto('build_times')
    .values({ repository, architecture, server_id: serverId, mean_seconds: seconds, builds: 1, updated_at: now })
    .onConflict((conflict) =>
      conflict.columns(['repository', 'architecture', 'server_id']).doUpdateSet({
        mean_seconds: sql<number>`build_times.mean_seconds + (${seconds} - build_times.mean_seconds) /
          case when build_times.builds < ${limits.buildTimeMemory} then build_times.builds + 1.0 else ${limits.buildTimeMemory} end`,
        builds: sql<number>`build_times.builds + 1`,
        updated_at: now,
      }),
    )
    .execute();
}

/**
 * How long a build is expected to take on a server; undefined when nothing is known of the
 * repository nor of the server.
 */
export async function estimateBuildTime(
  db: Pick<Store['db'], 'selectFrom'>,
  key: Pick<BuildTimeKey, 'repository' | 'architecture'> & { readonly serverId?: string },
): Promise<BuildTimeEstimate | undefined> {
  const times = () =>
    db
      .selectFrom('build_times')
      // Weighted by how often each was seen; summed here, so that it stays one row.
      .select(({ fn }) => [
        sql<number | null>`sum(mean_seconds * builds) / sum(builds)`.as('seconds'),
        fn.sum<number | null>('builds').as('builds'),
      ])
      .where('architecture', '=', key.architecture);
  const ofRepository = times().where('repository', '=', key.repository);
  const { serverId } = key;
  const tries = [
    ...(serverId === undefined ? [] : [['server', ofRepository.where('server_id', '=', serverId)] as const]),
    ['repository', ofRepository] as const,
    ...(serverId === undefined ? [] : [['other-repositories', times().where('server_id', '=', serverId)] as const]),
  ];
  for (const [basis, query] of tries) {
    const row = await query.executeTakeFirst();
    if (row?.seconds != null && row.builds != null) return { seconds: row.seconds, builds: Number(row.builds), basis };
  }
  return undefined;
}

/** The same in seconds for several servers; those of which nothing is known for this repository are left out. */
export async function buildTimesOn(
  db: Pick<Store['db'], 'selectFrom'>,
  key: Pick<BuildTimeKey, 'repository' | 'architecture'>,
  serverIds: readonly string[],
): Promise<ReadonlyMap<string, number>> {
  if (serverIds.length === 0) return new Map();
  const rows = await db
    .selectFrom('build_times')
    .select(['server_id', 'mean_seconds'])
    .where('repository', '=', key.repository)
    .where('architecture', '=', key.architecture)
    .where('server_id', 'in', serverIds)
    .execute();
  return new Map(rows.map((row) => [row.server_id, row.mean_seconds]));
}
