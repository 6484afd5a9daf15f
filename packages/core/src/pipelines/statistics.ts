import { sql } from 'kysely';
import {
  stageNames,
  type PipelineStatistics,
  type PipelineStatisticsOptions,
  type StageStatistics,
} from '../model/pipeline.ts';
import type { Store } from '../store/store.ts';

/** Counts pipelines and their stages in the store, whatever their number. */
export async function pipelineStatistics(
  { db }: Pick<Store, 'db'>,
  options: PipelineStatisticsOptions,
): Promise<PipelineStatistics> {
  const { sourceRepository, branch, targetArchitecture, environmentType, since } = options;
  const counted = db
    .selectFrom('pipelines as p')
    .innerJoin('work_items as w', 'w.id', 'p.id')
    .$if(sourceRepository !== undefined, (query) => query.where('p.repository', '=', sourceRepository ?? ''))
    .$if(branch !== undefined, (query) => query.where('p.branch', '=', branch ?? ''))
    .$if(targetArchitecture !== undefined, (query) => query.where('p.architecture', '=', targetArchitecture ?? ''))
    .$if(environmentType !== undefined, (query) => query.where('p.environment_type', '=', environmentType ?? ''))
    .$if(since !== undefined, (query) => query.where('w.created_at', '>=', since ?? 0));
  const pipelines = await counted
    .select((eb) => [
      'w.state as state',
      eb.fn.countAll<number>().as('count'),
      sql<number | null>`avg(w.finished_at - w.started_at)`.as('mean'),
    ])
    .groupBy('w.state')
    .execute();
  const stages = await counted
    .innerJoin('work_items as s', 's.parent_id', 'p.id')
    .where('s.child_key', 'in', [...stageNames])
    .select((eb) => [
      's.child_key as stage',
      's.state as state',
      eb.fn.countAll<number>().as('count'),
      sql<number | null>`avg(s.finished_at - s.started_at)`.as('mean'),
      sql<number | null>`max(s.finished_at - s.started_at)`.as('longest'),
    ])
    .groupBy(['s.child_key', 's.state'])
    .execute();
  const outcomes = tally(pipelines);
  const total = pipelines.reduce((sum, { count }) => sum + Number(count), 0);
  const { completed, failed, cancelled } = outcomes;
  const mean = pipelines.find(({ state }) => state === 'succeeded')?.mean;
  return {
    total,
    ...outcomes,
    unfinished: total - completed - failed - cancelled,
    ...(typeof mean === 'number' && { meanDurationSeconds: mean / 1000 }),
    stages: stageNames.map((name): StageStatistics => {
      const rows = stages.filter(({ stage }) => stage === name);
      const ended = tally(rows);
      const done = rows.find(({ state }) => state === 'succeeded');
      return {
        name,
        runs: ended.completed + ended.failed + ended.cancelled,
        ...ended,
        ...(typeof done?.mean === 'number' && { meanDurationSeconds: done.mean / 1000 }),
        ...(typeof done?.longest === 'number' && { longestDurationSeconds: done.longest / 1000 }),
      };
    }),
  };
}

function tally(rows: readonly { readonly state: string; readonly count: number }[]): {
  completed: number;
  failed: number;
  cancelled: number;
  successRate?: number;
} {
  const of = (wanted: string): number => Number(rows.find(({ state }) => state === wanted)?.count ?? 0);
  const completed = of('succeeded');
  const failed = of('failed');
  const judged = completed + failed;
  return { completed, failed, cancelled: of('cancelled'), ...(judged > 0 && { successRate: completed / judged }) };
}
