import type { VmSpec } from '../contracts/hypervisor.ts';
import { BringupError, notFound } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Architecture } from '../model/architecture.ts';
import type { BoardDeploymentRequest, DeploymentTargetType, QemuDeploymentRequest } from '../model/deployment.ts';
import { insertion } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

/** A deployment as it is queued. */
export type DeploymentInput = DeploymentWork &
  (
    | ({ readonly targetType: 'qemu_host' } & QemuDeploymentRequest)
    | ({ readonly targetType: 'physical_board' } & BoardDeploymentRequest)
  );

/** What a deployment's work item knows beside the request. */
export interface DeploymentWork {
  /** Whether the boot belongs to it; in a pipeline it is a stage of its own. */
  readonly withBoot: boolean;
  /** The work that holds the environment, if not the deployment itself. */
  readonly holder?: string;
  /** The environment that is held already; absent when the deployment gets one of its own. */
  readonly inEnvironment?: string;
  /** The deployment that this one takes the place of because it is known to be good. */
  readonly rollbackOf?: string;
}

/** A deployment's record, with its environment, as the handlers use it. */
export interface DeploymentRecord {
  readonly id: string;
  readonly environmentId: string;
  readonly targetType: DeploymentTargetType;
  /** The host or board. */
  readonly targetId: string | undefined;
  readonly reservationId: string | undefined;
  readonly architecture: Architecture | undefined;
  readonly buildId: string | undefined;
  readonly line: string | undefined;
  readonly vm: VmSpec | undefined;
  readonly bootId: string | undefined;
  readonly releasedAt: number | undefined;
  /** Whether it is what runs in its environment, or is being put there. */
  readonly current: boolean;
}

/** A deployment that has a target and runs there, or is about to. */
export type PlacedDeployment = DeploymentRecord & { readonly targetId: string; readonly architecture: Architecture };

/** @throws `not-found`. */
export async function deploymentRecord(store: Pick<Store, 'db'>, id: string): Promise<DeploymentRecord> {
  const row = await store.db
    .selectFrom('deployments as d')
    .innerJoin('environments as e', 'e.id', 'd.environment_id')
    .selectAll('d')
    .select(['e.reservation_id', 'e.released_at', 'e.deployment_id'])
    .where('d.id', '=', id)
    .executeTakeFirst();
  if (row === undefined) throw notFound('deployment', id);
  return {
    id: row.id,
    environmentId: row.environment_id,
    targetType: row.target_type as DeploymentTargetType,
    targetId: row.target_id ?? undefined,
    reservationId: row.reservation_id ?? undefined,
    architecture: (row.architecture as Architecture | null) ?? undefined,
    buildId: row.build_id ?? undefined,
    line: row.line ?? undefined,
    vm: vmOf(row),
    bootId: row.boot_id ?? undefined,
    releasedAt: row.released_at ?? undefined,
    current: row.deployment_id === row.id,
  };
}

/** The record of a deployment that is there to be booted, tested or spoken to. @throws `not-found`, `conflict`. */
export async function placedDeployment(store: Pick<Store, 'db'>, id: string): Promise<PlacedDeployment> {
  const record = await deploymentRecord(store, id);
  const { targetId, architecture, releasedAt, current } = record;
  if (targetId !== undefined && architecture !== undefined && releasedAt === undefined && current) {
    return { ...record, targetId, architecture };
  }
  const why =
    releasedAt !== undefined
      ? 'its environment was given back'
      : current
        ? 'it has no target yet'
        : `another one has taken its place in environment ${record.environmentId}`;
  throw new BringupError('conflict', `deployment ${id} does not run: ${why}`, { details: { id } });
}

/** A deployment whose VM is on its host, or is about to be. */
export type PlacedVm = PlacedDeployment & { readonly vm: VmSpec };

/** As {@link placedDeployment}, of one that is a VM. @throws `not-found`; `conflict`; `unsupported` for a board. */
export async function placedVm(store: Pick<Store, 'db'>, id: string): Promise<PlacedVm> {
  return withVm(await placedDeployment(store, id));
}

/** The same of a record that is at hand. @throws as {@link placedVm}. */
export function withVm(deployment: PlacedDeployment): PlacedVm {
  const { id, targetType, vm } = deployment;
  if (vm !== undefined) return { ...deployment, vm };
  if (targetType === 'physical_board') {
    throw new BringupError('unsupported', `deployment ${id} is on a board, which is no VM; see lab.power`, {
      details: { id },
    });
  }
  throw new BringupError('conflict', `deployment ${id} has no VM`, { details: { id } });
}

const addDeployment = insertion('deployments');
const addEnvironment = insertion('environments');

/** Writes a deployment's own record beside its work item, and that of its environment unless it has one. */
export async function insertDeployment(
  { db }: StoreTransaction,
  id: string,
  input: DeploymentInput,
  now: number,
): Promise<void> {
  // The environment of a deployment that gets its own is named after it.
  const environmentId = input.inEnvironment ?? id;
  await addDeployment(db, {
    id,
    environment_id: environmentId,
    target_type: input.targetType,
    target_id: null,
    architecture: null,
    build_id: null,
    commit_hash: null,
    line: null,
    artifact_ids: '[]',
    vm: null,
    boot_id: null,
    boot_verified: 0,
    boot: null,
    verification: null,
    rolled_back_by: null,
  });
  if (input.inEnvironment !== undefined) {
    await db.updateTable('environments').set({ deployment_id: id }).where('id', '=', environmentId).execute();
    return;
  }
  await addEnvironment(db, {
    id: environmentId,
    owner: input.requester ?? null,
    team: input.team ?? null,
    target_type: input.targetType,
    target_id: null,
    reservation_id: null,
    deployment_id: id,
    keep_ms: Math.min(input.keepMs ?? limits.deploymentKeepMs, limits.environmentMaxKeepMs),
    expires_at: null,
    released_at: null,
    created_at: now,
  });
}

/** Where in its log what a boot said begins that was judged in the end. */
export async function bootLogStart({ db }: Pick<Store, 'db'>, bootId: string): Promise<number> {
  const row = await db.selectFrom('work_items').select('checkpoint').where('id', '=', bootId).executeTakeFirst();
  if (row === undefined || row.checkpoint === null) return 0;
  return (JSON.parse(row.checkpoint) as { readonly logStart?: number }).logStart ?? 0;
}

/** Names of a deployment's VM on its host: the first, unless the hypervisor there can't let go of it. */
export function vmNames(deploymentId: string): readonly [string, ...string[]] {
  const first = `bringup-${deploymentId}`;
  return [first, ...Array.from({ length: limits.vmNames - 1 }, (_, index) => `${first}-${index + 2}`)];
}

/** The VM in the row of a deployment. */
export function vmOf(row: { readonly vm: string | null }): VmSpec | undefined {
  return row.vm === null ? undefined : (JSON.parse(row.vm) as VmSpec);
}

/** Id of the log of what the console said during a boot. */
export function bootLogId(bootId: string): string {
  return `boot/${bootId}`;
}
