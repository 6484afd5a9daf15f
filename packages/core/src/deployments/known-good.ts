import { BringupError } from '../errors.ts';
import type { Store } from '../store/store.ts';
import type { DeploymentRecord } from './records.ts';

/** A deployment that is known to boot. */
export interface KnownGood {
  readonly deploymentId: string;
  readonly buildId: string;
  readonly commitHash?: string;
}

/**
 * The newest earlier deployment that booted and whose build is still there: on this very board; for a
 * VM of the same repository, branch and architecture, on the same host if there is one, else on any.
 */
export async function lastKnownGood(
  { db }: Pick<Store, 'db'>,
  deployment: Pick<DeploymentRecord, 'id' | 'targetType' | 'targetId' | 'line' | 'architecture'>,
): Promise<KnownGood | undefined> {
  const { id, targetType, targetId, line, architecture } = deployment;
  const good = db
    .selectFrom('deployments')
    .select(['id', 'build_id', 'commit_hash'])
    .where('boot_verified', '=', 1)
    .where('id', '<', id)
    .where('architecture', '=', architecture ?? '')
    .where('target_type', '=', targetType)
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('artifacts')
          .select('artifacts.id')
          .whereRef('artifacts.producer_id', '=', 'deployments.build_id'),
      ),
    )
    .orderBy('id', 'desc')
    .limit(1);
  const here = targetId === undefined ? undefined : good.where('target_id', '=', targetId);
  const row =
    targetType === 'physical_board'
      ? await here?.executeTakeFirst()
      : ((await here?.where('line', '=', line ?? '').executeTakeFirst()) ??
        (await good.where('line', '=', line ?? '').executeTakeFirst()));
  if (row === undefined || row.build_id === null) return undefined;
  return {
    deploymentId: row.id,
    buildId: row.build_id,
    ...(row.commit_hash !== null && { commitHash: row.commit_hash }),
  };
}

/** The same error, telling what can be gone back to. */
export function offerRollback(error: BringupError, good: KnownGood | undefined): BringupError {
  if (good === undefined) return error;
  const what = good.commitHash === undefined ? `build ${good.buildId}` : `commit ${good.commitHash.slice(0, 12)}`;
  return new BringupError(
    error.code,
    `${error.message}; ${what} (deployment ${good.deploymentId}) is known to boot here`,
    { cause: error.cause, retryable: error.retryable, details: { ...error.details, lastKnownGood: { ...good } } },
  );
}
