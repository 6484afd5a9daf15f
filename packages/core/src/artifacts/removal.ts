import type { Kysely, SelectQueryBuilder } from 'kysely';
import { BringupError } from '../errors.ts';
import type { Schema } from '../store/schema.ts';
import type { StoreTransaction } from '../store/store.ts';

/** Why artifacts are kept whatever a policy says. */
export type ReasonToKeep = 'in use' | 'deployed' | 'pinned' | 'tagged' | 'the last one that booted on a target';

const unfinished = ['queued', 'running', 'waiting'] as const;

/** Why what a producer made must not be removed; undefined when it may. */
export async function reasonToKeep(db: Kysely<Schema>, producerId: string): Promise<ReasonToKeep | undefined> {
  const build = await db.selectFrom('builds').select('pinned').where('id', '=', producerId).executeTakeFirst();
  const artifacts = await db.selectFrom('artifacts').select('id').where('producer_id', '=', producerId).execute();
  const ids = [producerId, ...artifacts.map(({ id }) => id)];
  if (await isInUse(db, producerId, ids)) return 'in use';
  if (await isDeployed(db, ids)) return 'deployed';
  if (build?.pinned === 1) return 'pinned';
  const tag = await db.selectFrom('build_tags').select('tag').where('build_id', '=', producerId).executeTakeFirst();
  if (tag !== undefined) return 'tagged';
  return (await isLastGood(db, ids)) ? 'the last one that booted on a target' : undefined;
}

/** @throws `conflict`, saying what stands against the removal. */
export async function checkRemovable(tx: StoreTransaction, producerId: string, force: boolean): Promise<void> {
  const reason = await reasonToKeep(tx.db, producerId);
  if (reason === undefined || (force && reason !== 'in use')) return;
  const what =
    reason === 'in use' ? 'wait until that has ended, or cancel it' : 'say `force` to remove them all the same';
  throw new BringupError('conflict', `the artifacts of ${producerId} are ${reason}; ${what}`, {
    details: { producerId, reason },
  });
}

/**
 * Forgets artifacts, of a build with those of its boots and tests. The build stays in the history and
 * says that they were removed. @returns the hashes of what they had.
 */
export async function removeRecords(
  tx: StoreTransaction,
  producerIds: readonly string[],
  now: number,
  andOfBuild?: string,
): Promise<{ readonly hashes: readonly string[]; readonly artifacts: number }> {
  const removed = await tx.db
    .deleteFrom('artifacts')
    .where('id', 'in', (eb) => {
      const ids = eb.selectFrom('artifacts').select('id');
      const made = ids.where('producer_id', 'in', producerIds);
      return andOfBuild === undefined ? made : made.union(ids.where('build_id', '=', andOfBuild));
    })
    .returning(['sha256', 'producer_id'])
    .execute();
  await tx.db
    .updateTable('builds')
    .set({ artifacts_removed_at: now })
    .where('id', 'in', producerIds)
    .where('artifacts_removed_at', 'is', null)
    .execute();
  for (const producerId of new Set(removed.map((row) => row.producer_id))) {
    const artifacts = removed.filter((row) => row.producer_id === producerId).length;
    await tx.emit('artifact:removed', producerId, { producerId, artifacts });
  }
  return { hashes: [...new Set(removed.map((row) => row.sha256))], artifacts: removed.length };
}

async function isInUse(db: Kysely<Schema>, producerId: string, ids: readonly string[]): Promise<boolean> {
  // The work that makes them, or the pipeline it belongs to.
  const maker = await db
    .selectFrom('work_items as maker')
    .leftJoin('work_items as parent', 'parent.id', 'maker.parent_id')
    .select('maker.id')
    .where('maker.id', '=', producerId)
    .where((eb) => eb.or([eb('maker.state', 'in', unfinished), eb('parent.state', 'in', unfinished)]))
    .executeTakeFirst();
  if (maker !== undefined) return true;
  // Whatever was asked for with one of the ids in it: deployments, pipelines that go on from a build.
  const asked = await db
    .selectFrom('work_items')
    .select('id')
    .where('state', 'in', unfinished)
    .where((eb) => eb.or(ids.map((id) => eb('input', 'like', `%"${id}"%`))))
    .limit(1)
    .executeTakeFirst();
  if (asked !== undefined) return true;
  // Deployments that chose them, while they or their pipeline go on.
  const deployed = await db
    .selectFrom('deployments')
    .innerJoin('work_items as work', 'work.id', 'deployments.id')
    .leftJoin('work_items as parent', 'parent.id', 'work.parent_id')
    .select('deployments.id')
    .where('deployments.id', 'in', deploymentsWith(db, ids))
    .where((eb) => eb.or([eb('work.state', 'in', unfinished), eb('parent.state', 'in', unfinished)]))
    .limit(1)
    .executeTakeFirst();
  return deployed !== undefined;
}

/** Whether an environment that somebody holds was made of them. */
async function isDeployed(db: Kysely<Schema>, ids: readonly string[]): Promise<boolean> {
  const row = await db
    .selectFrom('deployments')
    .innerJoin('environments', 'environments.id', 'deployments.environment_id')
    .innerJoin('reservations', 'reservations.id', 'environments.reservation_id')
    .select('deployments.id')
    .where('deployments.id', 'in', deploymentsWith(db, ids))
    .where('environments.released_at', 'is', null)
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Whether a deployment of one of them is the newest of its target that was verified to boot. */
async function isLastGood(db: Kysely<Schema>, ids: readonly string[]): Promise<boolean> {
  const row = await db
    .selectFrom('deployments')
    .select('deployments.id')
    .where('deployments.boot_verified', '=', 1)
    .where('deployments.id', 'in', deploymentsWith(db, ids))
    .where((eb) =>
      eb.or([
        eb.exists(
          eb
            .selectFrom('resources')
            .select('resources.id')
            .whereRef('resources.good_deployment_id', '=', 'deployments.id'),
        ),
        eb.not(
          eb.exists(
            eb
              .selectFrom('deployments as newer')
              .select('newer.id')
              .whereRef('newer.target_id', '=', 'deployments.target_id')
              .where('newer.boot_verified', '=', 1)
              .whereRef('newer.id', '>', 'deployments.id'),
          ),
        ),
      ]),
    )
    .limit(1)
    .executeTakeFirst();
  return row !== undefined;
}

/** Deployments that chose a build, or one of some artifacts. */
function deploymentsWith(
  db: Kysely<Schema>,
  ids: readonly string[],
): SelectQueryBuilder<Schema, 'deployments', { id: string }> {
  return db
    .selectFrom('deployments')
    .select('id')
    .where((eb) => eb.or([eb('build_id', 'in', ids), ...ids.map((id) => eb('artifact_ids', 'like', `%"${id}"%`))]));
}
