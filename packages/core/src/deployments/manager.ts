import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError, notFound } from '../errors.ts';
import type {
  BoardDeploymentRequest,
  Deployment,
  DeploymentTargetType,
  QemuDeploymentRequest,
  VerificationReport,
} from '../model/deployment.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import { validate } from '../model/validate.ts';
import { isFinal } from '../model/work.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import type { ReadLogOptions } from '../work/logs.ts';
import { lastKnownGood } from './known-good.ts';
import {
  bootLogId,
  deploymentRecord,
  insertDeployment,
  placedDeployment,
  type DeploymentInput,
  type DeploymentRecord,
} from './records.ts';
import type { ReleaseInput } from './release-handler.ts';
import { boardDeploymentSchema, qemuDeploymentSchema } from './schema.ts';
import type { DeploymentTarget } from './target.ts';
import { verifyPlaced } from './verify.ts';
import { deploymentView } from './view.ts';

/** What the manager of deployments works with. */
export interface DeploymentManagerOptions {
  readonly store: Store;
  readonly work: WorkEngine;
  readonly clock: Clock;
  readonly artifacts: ArtifactRepository;
  readonly targets: Readonly<Record<DeploymentTargetType, DeploymentTarget>>;
}

/** Deployments: put a build onto a VM or a board, boot it, look at it, go back, give it back. */
export class DeploymentManager {
  readonly #options: DeploymentManagerOptions;
  readonly #store: Store;
  readonly #work: WorkEngine;

  constructor(options: DeploymentManagerOptions) {
    this.#options = options;
    this.#store = options.store;
    this.#work = options.work;
  }

  /**
   * Queues a deployment to a QEMU host, its boot included. Once it is completed the VM runs and the
   * environment is held until {@link DeploymentManager.releaseDeployment} or for `keepMs`. A host that
   * can't be provisioned is left for another one, unless it was named.
   * @throws `invalid-input` with one issue per field.
   */
  async deployToQemu(input: QemuDeploymentRequest): Promise<Deployment> {
    const request = validate('the deployment', qemuDeploymentSchema, input);
    return this.#submit({ ...request, targetType: 'qemu_host', withBoot: true });
  }

  /**
   * Queues a deployment to a board: its flash station flashes it, its power is cycled, and its boot is
   * judged by its serial console or, without one, by its shell. As {@link DeploymentManager.deployToQemu}
   * otherwise.
   * @throws `invalid-input` with one issue per field.
   */
  async deployToBoard(input: BoardDeploymentRequest): Promise<Deployment> {
    const request = validate('the deployment', boardDeploymentSchema, input);
    return this.#submit({ ...request, targetType: 'physical_board', withBoot: true });
  }

  async #submit(work: DeploymentInput): Promise<Deployment> {
    const id = await this.#work.submit('deployment', work, {
      prepare: (tx, deploymentId) => insertDeployment(tx, deploymentId, work, this.#options.clock.now()),
      ...(work.timeoutMs !== undefined && { timeoutMs: work.timeoutMs }),
      ...(work.priority !== undefined && { priority: work.priority }),
    });
    return this.getDeploymentStatus(id);
  }

  /** @throws `not-found`. */
  async getDeploymentStatus(id: string): Promise<Deployment> {
    const row = await this.#store.db.selectFrom('deployments').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw notFound('deployment', id);
    return deploymentView(this.#options, row);
  }

  /** Waits until it is completed or has failed. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async waitForDeployment(id: string, options: CallOptions = {}): Promise<Deployment> {
    await this.#work.finished(id, options);
    return this.getDeploymentStatus(id);
  }

  /** What the console said during the newest boot; with `follow` as it comes, to the boot's outcome. */
  async *getBootLog(id: string, options: ReadLogOptions = {}): AsyncIterable<Uint8Array> {
    const { bootId } = await deploymentRecord(this.#store, id);
    if (bootId !== undefined) yield* this.#work.logs.readOf(bootId, bootLogId(bootId), options);
  }

  /**
   * The console of the deployed machine: of a VM from any byte it ever said on, of a board from now on.
   * The caller disposes of it.
   * @throws `not-found`; `conflict` when the environment was given back; `console-busy`; `unsupported`
   * for a board that has none.
   */
  async openConsole(id: string, options: CallOptions & { readonly offset?: number } = {}): Promise<Console> {
    const deployment = await placedDeployment(this.#store, id);
    const { offset = 0, ...call } = options;
    return this.#options.targets[deployment.targetType].openConsole(deployment, offset, call);
  }

  /**
   * Looks whether what runs is still what was deployed. A look that takes too long is tried again; when
   * all of them do, or something else runs, the deployment is unverified from then on: `bootVerified`
   * is false.
   * @throws `not-found`; `conflict` when it does not run any more or was never booted; `aborted`.
   */
  async verifyDeployment(id: string, options: CallOptions = {}): Promise<VerificationReport> {
    const deployment = await placedDeployment(this.#store, id);
    if (!isFinal((await this.#work.get(id)).state) || deployment.bootId === undefined) {
      throw new BringupError('conflict', `deployment ${id} has not booted yet; wait for it first`, { details: { id } });
    }
    return verifyPlaced(this.#options, this.#options.targets[deployment.targetType], deployment, options);
  }

  /**
   * Puts the last known-good deployment in the place of this one, in the same environment: for a board
   * what booted on it before, for a VM what booted before of the same repository, branch and
   * architecture, on its host if there is one. Queues a new deployment; when that is completed, this
   * one is `rolled_back`. A deployment that did not boot is kept for `limits.failedDeploymentKeepMs`
   * for that.
   * @throws `not-found`; `conflict` while it is under way, when its environment was given back, or
   * when nothing is known to be good.
   */
  async rollbackDeployment(id: string): Promise<Deployment> {
    const deployment = await this.#ended(id);
    await placedDeployment(this.#store, id);
    const good = await lastKnownGood(this.#store, deployment);
    if (good === undefined) {
      throw new BringupError('conflict', `there is no known-good deployment to go back to from ${id}`, {
        details: { id, targetId: deployment.targetId ?? null },
      });
    }
    const { input } = await this.#work.get<DeploymentInput>(good.deploymentId);
    const { holder: _holder, inEnvironment: _elsewhere, rollbackOf: _earlier, ...request } = input;
    const { requester: _requester, team: _team, timeoutMs: _timeoutMs, ...wanted } = request;
    return this.#submit({
      ...wanted,
      artifacts: { buildId: good.buildId },
      withBoot: true,
      inEnvironment: deployment.environmentId,
      rollbackOf: id,
    });
  }

  /**
   * Tries an ended deployment again: in its environment while that is held, else in a new one.
   * @throws `not-found`; `conflict` while it is under way, or when it was part of a pipeline.
   */
  async retryDeployment(id: string): Promise<Deployment> {
    const deployment = await this.#ended(id);
    const { input } = await this.#work.get<DeploymentInput>(id);
    if (input.holder !== undefined) {
      throw new BringupError('conflict', `deployment ${id} is a stage of pipeline ${input.holder}; retry that`, {
        details: { id, pipelineId: input.holder },
      });
    }
    const { inEnvironment: _held, ...request } = input;
    const held = deployment.current && deployment.releasedAt === undefined && deployment.targetId !== undefined;
    return this.#submit({ ...request, ...(held && { inEnvironment: deployment.environmentId }) });
  }

  async #ended(id: string): Promise<DeploymentRecord> {
    const deployment = await deploymentRecord(this.#store, id);
    if (isFinal((await this.#work.get(id)).state)) return deployment;
    throw new BringupError('conflict', `deployment ${id} is under way; wait for it or cancel it`, { details: { id } });
  }

  /** Stops a deployment that is under way and gives its environment back. @throws `not-found`. */
  async cancelDeployment(id: string): Promise<void> {
    await this.getDeploymentStatus(id);
    await this.#work.cancel(id, 'the deployment was cancelled');
  }

  /**
   * Gives the environment of a deployment back: what runs there ends, what it took is free; resolves when
   * that is done. A deployment that is still under way there is cancelled.
   * @throws `not-found`; `conflict` while a pipeline works with it: cancel that; what kept the VM from ending.
   */
  async releaseDeployment(id: string, options: CallOptions = {}): Promise<void> {
    const { environmentId } = await deploymentRecord(this.#store, id);
    await releaseEnvironment({ store: this.#store, work: this.#work }, environmentId, options);
  }

  /** Deployments, newest first; of one environment, or of one host or board. */
  async getDeploymentHistory(
    options: HistoryOptions & { readonly targetId?: string; readonly environmentId?: string } = {},
  ): Promise<readonly Deployment[]> {
    const rows = await this.#store.db
      .selectFrom('deployments')
      .selectAll()
      .$if(options.before !== undefined, (query) => query.where('id', '<', options.before ?? ''))
      .$if(options.targetId !== undefined, (query) => query.where('target_id', '=', options.targetId ?? ''))
      .$if(options.environmentId !== undefined, (query) =>
        query.where('environment_id', '=', options.environmentId ?? ''),
      )
      .orderBy('id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map((row) => deploymentView(this.#options, row)));
  }
}

/**
 * Gives an environment back and waits for it; what is under way there is cancelled first.
 * @throws `not-found`; `conflict` while a pipeline works with it; what kept the VM from ending.
 */
export async function releaseEnvironment(
  { store, work }: { readonly store: Store; readonly work: WorkEngine },
  environmentId: string,
  options: CallOptions,
): Promise<void> {
  const row = await store.db
    .selectFrom('environments')
    .select('deployment_id')
    .where('id', '=', environmentId)
    .executeTakeFirst();
  if (row === undefined) {
    throw new BringupError('not-found', `there is no environment ${environmentId}`, { details: { environmentId } });
  }
  const { id, state, parentId } = await work.get(row.deployment_id);
  if (parentId !== undefined && !isFinal((await work.get(parentId)).state)) {
    throw new BringupError(
      'conflict',
      `environment ${environmentId} belongs to pipeline ${parentId}, which is not over; cancel that`,
      { details: { environmentId, pipelineId: parentId } },
    );
  }
  if (!isFinal(state)) {
    await work.cancel(id, 'the environment was released');
    await work.finished(id, options);
  }
  const release: ReleaseInput = { environmentId };
  const { error } = await work.finished(await work.submit('release', release), options);
  if (error !== undefined) throw new BringupError(error.code, error.message, error);
}
