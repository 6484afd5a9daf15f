import type { Selectable } from 'kysely';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { Console } from '../contracts/console.ts';
import type { VmSpec } from '../contracts/hypervisor.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BootReport, Deployment, DeploymentStatus, QemuDeploymentRequest } from '../model/deployment.ts';
import type { Host } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import { isFinal, type WorkItem } from '../model/work.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { DeploymentRow } from '../store/schema.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import type { ReadLogOptions } from '../work/logs.ts';
import type { DeploymentInput } from './deployment-handler.ts';
import { bootLogId, deploymentRecord } from './records.ts';
import { qemuDeploymentSchema } from './schema.ts';

/** Deployments: put a build onto a VM, boot it, look at it, give it back. */
export class DeploymentManager {
  readonly #store: Store;
  readonly #work: WorkEngine;
  readonly #artifacts: ArtifactRepository;
  readonly #connectors: Connectors;
  readonly #host: (id: string) => Promise<Host>;

  constructor(options: {
    store: Store;
    work: WorkEngine;
    artifacts: ArtifactRepository;
    connectors: Connectors;
    host: (id: string) => Promise<Host>;
  }) {
    this.#store = options.store;
    this.#work = options.work;
    this.#artifacts = options.artifacts;
    this.#connectors = options.connectors;
    this.#host = options.host;
  }

  /**
   * Queues a deployment to a QEMU host, its boot included. Once it is completed the VM runs and the
   * environment is held until {@link DeploymentManager.releaseDeployment} or for `keepMs`.
   * @throws `invalid-input` with one issue per field.
   */
  async deployToQemu(input: QemuDeploymentRequest): Promise<Deployment> {
    const request = validate('the deployment', qemuDeploymentSchema, input);
    const work: DeploymentInput = { ...request, withBoot: true };
    const id = await this.#work.submit('deployment', work, {
      prepare: insertDeployment,
      ...(request.timeoutMs !== undefined && { timeoutMs: request.timeoutMs }),
      ...(request.priority !== undefined && { priority: request.priority }),
    });
    return this.getDeploymentStatus(id);
  }

  /** @throws `not-found`. */
  async getDeploymentStatus(id: string): Promise<Deployment> {
    const row = await this.#store.db.selectFrom('deployments').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw new BringupError('not-found', `there is no deployment ${id}`, { details: { id } });
    return this.#view(row);
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
   * The console of the deployed VM, from any byte it ever said on. The caller disposes of it.
   * @throws `not-found`; `conflict` when the environment was given back; `console-busy`.
   */
  async openConsole(id: string, options: CallOptions & { readonly offset?: number } = {}): Promise<Console> {
    const { hostId, vm, releasedAt } = await deploymentRecord(this.#store, id);
    if (hostId === undefined || vm === undefined || releasedAt !== undefined) {
      throw new BringupError('conflict', `deployment ${id} has no VM any more`, { details: { id } });
    }
    const session = await this.#connectors.openHost(await this.#host(hostId), options);
    try {
      const console = await session.hypervisor.openConsole(vm.name, options);
      const close = async (): Promise<void> => {
        await console[Symbol.asyncDispose]();
        await session[Symbol.asyncDispose]();
      };
      return {
        output: console.output,
        write: (data, writeOptions) => console.write(data, writeOptions),
        ...(console.sendBreak !== undefined && { sendBreak: () => console.sendBreak?.() ?? Promise.resolve() }),
        [Symbol.asyncDispose]: close,
      };
    } catch (error) {
      await session[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Stops a deployment that is under way and gives its environment back. @throws `not-found`. */
  async cancelDeployment(id: string): Promise<void> {
    await this.getDeploymentStatus(id);
    await this.#work.cancel(id, 'the deployment was cancelled');
  }

  /**
   * Ends the VM and frees what it took; resolves when that is done. A deployment that is still under
   * way is cancelled.
   * @throws `not-found`; `conflict` while a pipeline works with it: cancel that; what kept the VM from ending.
   */
  async releaseDeployment(id: string, options: CallOptions = {}): Promise<void> {
    const { state, parentId } = await this.#work.get((await deploymentRecord(this.#store, id)).id);
    if (parentId !== undefined && !isFinal((await this.#work.get(parentId)).state)) {
      throw new BringupError(
        'conflict',
        `deployment ${id} belongs to pipeline ${parentId}, which is not over; cancel that`,
        { details: { id, pipelineId: parentId } },
      );
    }
    if (!isFinal(state)) {
      await this.#work.cancel(id, 'the deployment was released');
      await this.#work.finished(id, options);
    }
    const releaseId = await this.#work.submit('release', { deploymentId: id });
    const { error } = await this.#work.finished(releaseId, options);
    if (error !== undefined) throw new BringupError(error.code, error.message, error);
  }

  /** Deployments, newest first. */
  async getDeploymentHistory(
    options: { readonly before?: string; readonly limit?: number; readonly targetId?: string } = {},
  ): Promise<readonly Deployment[]> {
    const rows = await this.#store.db
      .selectFrom('deployments')
      .selectAll()
      .$if(options.before !== undefined, (query) => query.where('id', '<', options.before ?? ''))
      .$if(options.targetId !== undefined, (query) => query.where('target_id', '=', options.targetId ?? ''))
      .orderBy('id', 'desc')
      .limit(Math.min(options.limit ?? limits.pageSize, limits.pageSize))
      .execute();
    return Promise.all(rows.map((row) => this.#view(row)));
  }

  async #view(row: Selectable<DeploymentRow>): Promise<Deployment> {
    const item = await this.#work.get(row.id);
    const ids = JSON.parse(row.artifact_ids) as string[];
    return {
      id: row.id,
      targetType: row.target_type as Deployment['targetType'],
      ...(row.target_id !== null && { targetId: row.target_id }),
      artifacts: await this.#artifacts.getArtifacts(ids),
      ...(row.build_id !== null && { buildId: row.build_id }),
      ...(row.commit_hash !== null && { commitHash: row.commit_hash }),
      status: deploymentStatus(item),
      ...(row.vm !== null && { vmName: (JSON.parse(row.vm) as VmSpec).name }),
      ...(row.boot_id !== null && { bootId: row.boot_id }),
      bootVerified: row.boot_verified === 1,
      ...(row.boot !== null && { boot: JSON.parse(row.boot) as BootReport }),
      ...(item.startedAt !== undefined && { startedAt: item.startedAt }),
      ...(item.finishedAt !== undefined && { completedAt: item.finishedAt }),
      ...(row.released_at !== null && { releasedAt: row.released_at }),
      ...(item.error !== undefined && { errorMessage: item.error.message, error: item.error }),
      createdAt: item.createdAt,
    };
  }
}

/** Writes the deployment's own record beside its work item. */
export async function insertDeployment({ db }: StoreTransaction, id: string): Promise<void> {
  await db
    .insertInto('deployments')
    .values({
      id,
      target_type: 'qemu_host',
      target_id: null,
      build_id: null,
      commit_hash: null,
      artifact_ids: '[]',
      vm: null,
      boot_id: null,
      reservation_id: null,
      boot_verified: 0,
      boot: null,
      released_at: null,
    })
    .execute();
}

function deploymentStatus(item: WorkItem): DeploymentStatus {
  switch (item.state) {
    case 'succeeded':
      return 'completed';
    case 'failed':
    case 'cancelled':
      return item.state;
    default:
      return item.phase === 'transferring' || item.phase === 'booting' ? item.phase : 'pending';
  }
}
