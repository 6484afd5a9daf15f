import type { Selectable } from 'kysely';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { BootReport, Deployment, DeploymentStatus, VerificationReport } from '../model/deployment.ts';
import type { WorkItem } from '../model/work.ts';
import type { DeploymentRow } from '../store/schema/deployments.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import { courseOf } from '../work/records.ts';
import { vmOf } from './records.ts';

/** What a deployment's view is put together from. */
export interface DeploymentViews {
  readonly store: Store;
  readonly work: WorkEngine;
  readonly artifacts: ArtifactRepository;
}

/** A deployment as users see it. */
export async function deploymentView(views: DeploymentViews, row: Selectable<DeploymentRow>): Promise<Deployment> {
  const item = await views.work.get(row.id);
  const environment = await views.store.db
    .selectFrom('environments')
    .select('released_at')
    .where('id', '=', row.environment_id)
    .executeTakeFirst();
  const ids = JSON.parse(row.artifact_ids) as string[];
  const vm = vmOf(row);
  return {
    id: row.id,
    environmentId: row.environment_id,
    targetType: row.target_type as Deployment['targetType'],
    ...(row.target_id !== null && { targetId: row.target_id }),
    artifacts: await views.artifacts.getArtifacts(ids),
    ...(row.build_id !== null && { buildId: row.build_id }),
    ...(row.commit_hash !== null && { commitHash: row.commit_hash }),
    status: await deploymentStatus(views, row, item),
    ...(vm !== undefined && { vmName: vm.name }),
    ...(row.boot_id !== null && { bootId: row.boot_id }),
    bootVerified: row.boot_verified === 1,
    ...(row.boot !== null && { boot: JSON.parse(row.boot) as BootReport }),
    ...(row.verification !== null && { verification: JSON.parse(row.verification) as VerificationReport }),
    ...(row.rolled_back_by !== null && { rolledBackBy: row.rolled_back_by }),
    ...(typeof environment?.released_at === 'number' && { releasedAt: environment.released_at }),
    ...courseOf(item),
  };
}

/** State of a deployment, from its work item and that of its boot. */
export async function deploymentStatus(
  { work }: Pick<DeploymentViews, 'work'>,
  row: Pick<Selectable<DeploymentRow>, 'boot_id' | 'rolled_back_by'>,
  item: WorkItem,
): Promise<DeploymentStatus> {
  if (row.rolled_back_by !== null) return 'rolled_back';
  if (item.state === 'succeeded') return 'completed';
  if (item.state === 'failed' || item.state === 'cancelled') return item.state;
  switch (item.phase) {
    case 'transferring':
    case 'flashing':
      return item.phase;
    case 'booting': {
      const boot = row.boot_id === null ? undefined : await work.get(row.boot_id);
      return boot?.phase === 'verifying' ? 'verifying' : 'booting';
    }
    default:
      return 'pending';
  }
}
