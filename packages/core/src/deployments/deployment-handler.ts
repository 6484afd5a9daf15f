import { BringupError, fromStoredError, isBringupError, toBringupError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BootReport } from '../model/deployment.ts';
import { machineTrouble } from '../pool/machine-trouble.ts';
import { extend } from '../pool/reservations.ts';
import { giveUpWaiting, obtain } from '../selection/obtain.ts';
import { newId } from '../runtime.ts';
import type { StoreTransaction } from '../store/store.ts';
import { SteppedAside, type WorkContext, type WorkHandler, type WorkResult } from '../work/handler.ts';
import { enqueue } from '../work/queue.ts';
import { deploymentRecord, vmOf, type DeploymentInput } from './records.ts';
import type { ReleaseInput } from './release-handler.ts';
import type { BootInput, BootOutput, DeploymentServices } from './services.ts';
import type { DeploymentCheckpoint, DeploymentPlan, DeploymentTarget, HeldTarget } from './target.ts';

/** What a finished deployment gives. */
export interface DeploymentOutput {
  readonly vmName?: string;
  readonly boot?: BootReport;
}

type Context = WorkContext<DeploymentCheckpoint>;

/** What says something about the host or board, and nothing about what is deployed. */
const targetTrouble: readonly ErrorCode[] = [
  ...machineTrouble,
  'transfer-failed',
  'checksum-mismatch',
  'hypervisor-failed',
  'unsupported',
  'flash-failed',
  'power-failed',
];

/**
 * Artifacts onto a target, which is then ready to be booted; if asked for, its boot. A target that
 * can't be provisioned is left for another one, unless it was named.
 */
export class DeploymentHandler implements WorkHandler<DeploymentInput, DeploymentOutput, DeploymentCheckpoint> {
  readonly kind = 'deployment';
  readonly #services: DeploymentServices;
  readonly #targets: Readonly<Record<DeploymentInput['targetType'], DeploymentTarget>>;

  constructor(
    services: DeploymentServices,
    targets: Readonly<Record<DeploymentInput['targetType'], DeploymentTarget>>,
  ) {
    this.#services = services;
    this.#targets = targets;
  }

  async run(context: Context, input: DeploymentInput): Promise<WorkResult<DeploymentOutput>> {
    const held = await this.#provision(context, input);
    if (!input.withBoot) return { output: await this.#made(context) };

    await context.phase('booting');
    const boot = await context.child<BootInput, BootOutput>('boot', 'boot', {
      deploymentId: context.id,
      ...(input.boot !== undefined && { boot: input.boot }),
    });
    if (boot.error !== undefined) throw fromStoredError(boot.error);
    return {
      output: { ...(await this.#made(context)), ...(boot.output !== undefined && { boot: boot.output.report }) },
      commit: async (tx) => {
        await this.#keep(tx, context, held, input.keepMs ?? limits.deploymentKeepMs);
        if (input.rollbackOf === undefined) return;
        await tx.db
          .updateTable('deployments')
          .set({ rolled_back_by: context.id, boot_verified: 0 })
          .where('id', '=', input.rollbackOf)
          .execute();
      },
    };
  }

  async #made(context: Context): Promise<Pick<DeploymentOutput, 'vmName'>> {
    const { vm } = await deploymentRecord(this.#services.store, context.id);
    return vm === undefined ? {} : { vmName: vm.name };
  }

  async #provision(context: Context, input: DeploymentInput): Promise<HeldTarget> {
    const target = this.#targets[input.targetType];
    for (;;) {
      const known = context.checkpoint;
      if (known?.held !== undefined && known.provisioned === true) return known.held;
      const plan = await this.#choose(context, input, target);
      const held = known?.held ?? (await this.#place(context, input, plan));
      try {
        await target.provision(context, input, plan, held);
        await context.save({ tried: [], ...context.checkpoint, held, provisioned: true });
        return held;
      } catch (error) {
        if (error instanceof SteppedAside || context.signal.aborted) throw error;
        await this.#leave(context, input, held, toBringupError(error));
      }
    }
  }

  async #choose(context: Context, input: DeploymentInput, target: DeploymentTarget): Promise<DeploymentPlan> {
    const { artifacts, store } = this.#services;
    const { build_id: buildId } = await store.db
      .selectFrom('deployments')
      .select('build_id')
      .where('id', '=', context.id)
      .executeTakeFirstOrThrow();
    // What "the latest" meant is decided once.
    const build = await artifacts.select(buildId === null ? input.artifacts : { buildId });
    const extra = await Promise.all((input.extraArtifactIds ?? []).map((id) => artifacts.getArtifact(id)));
    return target.plan(input, build, build.artifacts, extra);
  }

  #place(context: Context, input: DeploymentInput, plan: DeploymentPlan): Promise<HeldTarget> {
    return input.inEnvironment === undefined
      ? this.#reserve(context, input, plan)
      : this.#moveIn(context, input.inEnvironment, plan);
  }

  async #reserve(context: Context, input: DeploymentInput, plan: DeploymentPlan): Promise<HeldTarget> {
    const { tried = [], trouble } = context.checkpoint ?? {};
    try {
      return await obtain(context, this.#services.selection, {
        request: { ...plan.request, exclude: tried },
        holder: input.holder ?? context.id,
        expectedMs: input.keepMs ?? limits.deploymentKeepMs,
        record: async (tx, { id: reservationId, resourceId: targetId }) => {
          const held = { targetId, reservationId };
          await this.#record(tx, context, plan, held);
          await tx.db
            .updateTable('environments')
            .set({ target_id: targetId, reservation_id: reservationId })
            .where('deployment_id', '=', context.id)
            .execute();
          return held;
        },
      });
    } catch (error) {
      // Nowhere else to go: what made it leave the last target says more.
      throw trouble !== undefined && isBringupError(error, 'no-match') ? fromStoredError(trouble) : error;
    }
  }

  /** Takes over the environment that is there: from now on it lasts as long as this deployment. */
  #moveIn(context: Context, environmentId: string, plan: DeploymentPlan): Promise<HeldTarget> {
    return context.transaction(async (tx) => {
      const row = await tx.db
        .selectFrom('environments')
        .innerJoin('reservations', 'reservations.id', 'environments.reservation_id')
        .select(['environments.target_id', 'reservations.id'])
        .where('environments.id', '=', environmentId)
        .where('environments.released_at', 'is', null)
        .executeTakeFirst();
      if (row === undefined || row.target_id === null) {
        throw new BringupError('conflict', `environment ${environmentId} was given back`, {
          details: { environmentId },
        });
      }
      await tx.db.updateTable('reservations').set({ holder: context.id }).where('id', '=', row.id).execute();
      await tx.db.updateTable('environments').set({ expires_at: null }).where('id', '=', environmentId).execute();
      const held = { targetId: row.target_id, reservationId: row.id };
      await this.#record(tx, context, plan, held);
      return held;
    });
  }

  async #record(tx: StoreTransaction, context: Context, plan: DeploymentPlan, held: HeldTarget): Promise<void> {
    const { tried = [], trouble } = context.checkpoint ?? {};
    await context.saveIn(tx, { held, tried, ...(trouble !== undefined && { trouble }) });
    const build = await tx.db
      .selectFrom('builds')
      .select(['repository', 'branch'])
      .where('id', '=', plan.buildId)
      .executeTakeFirst();
    await tx.db
      .updateTable('deployments')
      .set({
        target_id: held.targetId,
        architecture: plan.architecture,
        build_id: plan.buildId,
        commit_hash: plan.commitHash ?? null,
        line: build === undefined ? null : `${build.repository} ${build.branch}`,
        artifact_ids: JSON.stringify(plan.artifacts.map(({ id }) => id)),
      })
      .where('id', '=', context.id)
      .execute();
  }

  /**
   * Goes away from a target that could not be provisioned, to try another one.
   * @throws `error` when it is not the target's fault, or the deployment may go nowhere else.
   */
  async #leave(context: Context, input: DeploymentInput, held: HeldTarget, error: BringupError): Promise<void> {
    const { tried = [] } = context.checkpoint ?? {};
    const named = input.targetType === 'qemu_host' ? input.hostId : input.boardId;
    const stays = named !== undefined || input.inEnvironment !== undefined;
    const last = tried.length + 1 >= limits.deploymentTargetsTried;
    if (!targetTrouble.includes(error.code) || stays || last) throw error;
    context.logger.warn({ error, deployment: context.id, target: held.targetId }, 'trying another target');
    await context.transaction(async (tx) => {
      await context.saveIn(tx, { tried: [...tried, held.targetId], trouble: error.toJSON() });
      const { targetType } = input;
      const row = await tx.db
        .selectFrom('deployments')
        .select('vm')
        .where('id', '=', context.id)
        .executeTakeFirstOrThrow();
      await tx.db.updateTable('deployments').set({ vm: null, target_id: null }).where('id', '=', context.id).execute();
      // Patiently and on its own: what is out of reach now must not keep what was begun there.
      const vm = vmOf(row)?.name;
      const left = { deploymentId: context.id, targetType, ...held, ...(vm !== undefined && { vm }) };
      const release: ReleaseInput = { place: left };
      const { clock, random } = this.#services;
      const place = { parentId: context.id, childKey: leaveKey(tried.length), traceparent: context.traceparent };
      await enqueue(tx, { id: newId(clock, random), kind: 'release', input: release, ...place }, clock.now());
      await tx.db
        .updateTable('environments')
        .set({ target_id: null, reservation_id: null })
        .where('deployment_id', '=', context.id)
        .execute();
    });
  }

  /** From here on the environment is held by nobody's work, until its time is over. */
  async #keep(tx: StoreTransaction, context: Context, held: HeldTarget, keepMs: number): Promise<void> {
    const now = context.clock.now();
    const leaseMs = Math.min(keepMs, limits.environmentMaxKeepMs);
    const expiresAt = now + leaseMs;
    await extend(tx, held.reservationId, { now, leaseMs, expectedEndAt: expiresAt });
    await tx.db
      .updateTable('environments')
      .set({ expires_at: expiresAt })
      .where('deployment_id', '=', context.id)
      .execute();
  }

  /**
   * Gives back what was taken, patiently: a host that is out of reach just now must not keep the VM. What
   * was provisioned and did not boot is kept for a while, to be looked at and rolled back.
   */
  async cleanUp(context: Context, input: DeploymentInput, error: BringupError): Promise<void> {
    const { held, provisioned, tried } = context.checkpoint ?? {};
    if (held !== undefined && error.code !== 'aborted' && input.holder === undefined) {
      const didNotBoot = provisioned === true && isBringupError(error, 'boot-failed', 'boot-timeout');
      if (didNotBoot || input.inEnvironment !== undefined) {
        await context.transaction((tx) => this.#keep(tx, context, held, limits.failedDeploymentKeepMs));
        return;
      }
    }
    if (held === undefined) await context.transaction((tx) => giveUpWaiting(tx, context.id));
    const environmentId = input.inEnvironment ?? context.id;
    for (const key of (tried ?? []).keys()) {
      // They are under way since it left; nothing of it is left once it has ended.
      await context.child<ReleaseInput, null>(leaveKey(key), 'release', { environmentId }, { evenIfCancelled: true });
    }
    await context.child<ReleaseInput, null>('release', 'release', { environmentId }, { evenIfCancelled: true });
  }
}

/** Names what takes back what was begun on the n-th target that was left. */
function leaveKey(index: number): string {
  return `leave-${index}`;
}
