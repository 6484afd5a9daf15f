import type { WorkKind } from '../model/work.ts';
import type { Store } from '../store/store.ts';

/** What the lab is doing with a deployment right now: putting it there, booting it, testing it, as a pipeline or not. */
export async function workOn(
  { db }: Pick<Store, 'db'>,
  deploymentId: string,
): Promise<{ readonly id: string; readonly kind: WorkKind } | undefined> {
  const row = await db
    .selectFrom('work_items as w')
    .select(['w.id', 'w.kind'])
    .where('w.state', 'in', ['queued', 'running', 'waiting'])
    .where('w.id', 'in', (eb) =>
      eb
        .selectFrom('deployments as d')
        .select('d.id')
        .where('d.id', '=', deploymentId)
        .union(eb.selectFrom('test_runs as t').select('t.id').where('t.deployment_id', '=', deploymentId))
        // In a pipeline the boot is a stage of its own, and between two stages there is only the pipeline.
        .union(
          eb
            .selectFrom('work_items as c')
            .select('c.parent_id as id')
            .where('c.id', '=', deploymentId)
            .where('c.parent_id', 'is not', null)
            .$narrowType<{ id: string }>(),
        ),
    )
    .orderBy('w.id')
    .limit(1)
    .executeTakeFirst();
  return row && { id: row.id, kind: row.kind as WorkKind };
}
