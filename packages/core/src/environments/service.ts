import { userInfo } from 'node:os';
import type { Selectable } from 'kysely';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { releaseEnvironment, type DeploymentManager } from '../deployments/manager.ts';
import { placedDeployment } from '../deployments/records.ts';
import { boardDeploymentSchema, qemuDeploymentSchema } from '../deployments/schema.ts';
import { BringupError, notFound, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Deployment, DeploymentTargetType } from '../model/deployment.ts';
import type {
  Environment,
  EnvironmentAccess,
  EnvironmentRequest,
  EnvironmentStatus,
  InspectedEnvironment,
} from '../model/environment.ts';
import { idField, millisecondsField } from '../model/fields.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import type { Board, Connection, Host } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import type { Connectors } from '../pool/connectors.ts';
import { extend } from '../pool/reservations.ts';
import type { EnvironmentRow } from '../store/schema/environments.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import * as v from 'valibot';

/** What environments are made of. */
export interface EnvironmentServiceOptions {
  readonly store: Store;
  readonly work: WorkEngine;
  readonly clock: Clock;
  readonly deployments: DeploymentManager;
  readonly connectors: Connectors;
  readonly host: (id: string) => Promise<Host>;
  readonly board: (id: string) => Promise<Board>;
}

/** Options of {@link EnvironmentService.list}. */
export interface ListEnvironmentsOptions extends HistoryOptions {
  readonly owner?: string;
  readonly team?: string;
  /** On this host or board. */
  readonly targetId?: string;
  /** Those that were given back, too. Default false. */
  readonly released?: boolean;
}

const requestSchema: v.GenericSchema<unknown, { targetType: DeploymentTargetType; owner?: string; team?: string }> =
  v.looseObject({
    targetType: v.picklist(['qemu_host', 'physical_board'], 'must be qemu_host or physical_board'),
    owner: v.exactOptional(idField),
    team: v.exactOptional(idField),
  });

/**
 * Environments: a VM on a host or a board, held for somebody, with artifacts that have booted. Pipelines
 * and deployments have theirs by the same means, and all of them are listed here.
 */
export class EnvironmentService {
  readonly #options: EnvironmentServiceOptions;
  readonly #store: Store;

  constructor(options: EnvironmentServiceOptions) {
    this.#options = options;
    this.#store = options.store;
  }

  /**
   * Reserves a host or board, the one that is named or the best that fits, and puts the chosen artifacts
   * there. Resolves when that is queued; {@link EnvironmentService.waitForEnvironment} waits until it has
   * booted. It is given back after `keepMs` unless it is released or extended.
   * @throws `invalid-input` with one issue per field.
   */
  async create(input: EnvironmentRequest): Promise<Environment> {
    const { targetType, owner, team } = validate('the environment', requestSchema, input);
    const { targetType: _type, owner: _owner, team: _team, ...rest } = input;
    const asker = { ...(owner !== undefined && { requester: owner }), ...(team !== undefined && { team }) };
    const { deployments } = this.#options;
    const { environmentId } =
      targetType === 'qemu_host'
        ? await deployments.deployToQemu(validate('the environment', qemuDeploymentSchema, { ...rest, ...asker }))
        : await deployments.deployToBoard(validate('the environment', boardDeploymentSchema, { ...rest, ...asker }));
    return this.get(environmentId);
  }

  /** An environment as the records have it. @throws `not-found`. */
  async get(id: string): Promise<Environment> {
    return this.#view(await this.#row(id));
  }

  /**
   * An environment, and whether it can be reached right now. Asks the host or the board's shell, but
   * takes no console: somebody may be using it.
   * @throws `not-found`, `aborted`.
   */
  async inspect(id: string, options: CallOptions = {}): Promise<InspectedEnvironment> {
    const environment = await this.get(id);
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
    try {
      return { ...environment, ...(await this.#connection(environment, bounded)) };
    } catch (error) {
      const failure = toBringupError(error);
      if (options.signal?.aborted === true) throw failure;
      return { ...environment, connection: 'unreachable', connectionError: failure.message };
    }
  }

  /** Waits until what is being put there has booted, or has not. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async waitForEnvironment(id: string, options: CallOptions = {}): Promise<Environment> {
    await this.#options.work.finished((await this.#row(id)).deployment_id, options);
    return this.get(id);
  }

  /**
   * Keeps an environment for so long from now on.
   * @throws `not-found`; `invalid-input` beyond `limits.environmentMaxKeepMs`; `conflict` when it was
   * given back, or while work goes on in it, which keeps it anyway.
   */
  async extend(id: string, keepMs: number): Promise<Environment> {
    const schema = v.strictObject({
      keepMs: v.pipe(
        millisecondsField,
        v.maxValue(limits.environmentMaxKeepMs, `must be at most ${limits.environmentMaxKeepMs} ms`),
      ),
    });
    const valid = validate('the extension', schema, { keepMs });
    await this.#row(id);
    await this.#store.transaction(async (tx) => {
      const now = this.#options.clock.now();
      const expiresAt = now + valid.keepMs;
      const row = await tx.db
        .updateTable('environments')
        .set({ expires_at: expiresAt })
        .where('id', '=', id)
        .where('released_at', 'is', null)
        .where('expires_at', 'is not', null)
        .returning('reservation_id')
        .executeTakeFirst();
      if (row === undefined || row.reservation_id === null) {
        throw new BringupError(
          'conflict',
          `environment ${id} can't be extended: it was given back, or work goes on in it`,
          { details: { id } },
        );
      }
      await extend(tx, row.reservation_id, { now, leaseMs: valid.keepMs, expectedEndAt: expiresAt });
    });
    return this.get(id);
  }

  /**
   * Gives an environment back; resolves when what ran there has ended and what it took is free. What is
   * under way there is cancelled.
   * @throws `not-found`; `conflict` while a pipeline works with it: cancel that; what kept the VM from ending.
   */
  async release(id: string, options: CallOptions = {}): Promise<void> {
    await releaseEnvironment(this.#options, id, options);
  }

  /** Environments, newest first; those that are held unless it is said otherwise. */
  async list(options: ListEnvironmentsOptions = {}): Promise<readonly Environment[]> {
    const rows = await this.#store.db
      .selectFrom('environments')
      .selectAll()
      .$if(options.before !== undefined, (query) => query.where('id', '<', options.before ?? ''))
      .$if(options.owner !== undefined, (query) => query.where('owner', '=', options.owner ?? ''))
      .$if(options.team !== undefined, (query) => query.where('team', '=', options.team ?? ''))
      .$if(options.targetId !== undefined, (query) => query.where('target_id', '=', options.targetId ?? ''))
      .$if(options.released !== true, (query) => query.where('released_at', 'is', null))
      .orderBy('id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map((row) => this.#view(row)));
  }

  async #row(id: string): Promise<Selectable<EnvironmentRow>> {
    const row = await this.#store.db.selectFrom('environments').selectAll().where('id', '=', id).executeTakeFirst();
    if (row !== undefined) return row;
    throw notFound('environment', id);
  }

  async #view(row: Selectable<EnvironmentRow>): Promise<Environment> {
    const deployment = await this.#options.deployments.getDeploymentStatus(row.deployment_id);
    const targetType = row.target_type as DeploymentTargetType;
    const found = row.target_id === null ? undefined : await this.#target(targetType, row.target_id);
    return {
      id: row.id,
      ...(row.owner !== null && { owner: row.owner }),
      ...(row.team !== null && { team: row.team }),
      targetType,
      status: statusOf(row, deployment),
      ...(found !== undefined && { target: found.target }),
      deploymentId: deployment.id,
      deploymentStatus: deployment.status,
      ...(deployment.buildId !== undefined && { buildId: deployment.buildId }),
      ...(deployment.commitHash !== undefined && { commitHash: deployment.commitHash }),
      ...(deployment.completedAt !== undefined && { deployedAt: deployment.completedAt }),
      access: { ...found?.access, ...(deployment.vmName !== undefined && { vmName: deployment.vmName }) },
      ...(row.expires_at !== null && { expiresAt: row.expires_at }),
      ...(row.released_at !== null && { releasedAt: row.released_at }),
      createdAt: row.created_at,
    };
  }

  /** The host or board; undefined when it is not in the pool any more. */
  async #target(
    type: DeploymentTargetType,
    id: string,
  ): Promise<{ target: NonNullable<Environment['target']>; access: EnvironmentAccess } | undefined> {
    try {
      if (type === 'qemu_host') {
        const host = await this.#options.host(id);
        return { target: { id, name: host.hostname, status: host.status }, access: { ssh: sshOf(host) } };
      }
      const board = await this.#options.board(id);
      const { name, status, hostname, serialDevice: device, serialBaudRate: baudRate = limits.serialBaudRate } = board;
      return {
        target: { id, name, status },
        access: {
          ...(hostname !== undefined && { ssh: sshOf({ ...board, hostname }) }),
          ...(device !== undefined && { console: { name, device, baudRate } }),
        },
      };
    } catch (error) {
      if (toBringupError(error).code === 'not-found') return undefined;
      throw error;
    }
  }

  async #connection(
    environment: Environment,
    options: CallOptions,
  ): Promise<Pick<InspectedEnvironment, 'connection' | 'connectionError'>> {
    const { status, target, targetType, deploymentId } = environment;
    if (status === 'released' || target === undefined) return { connection: 'unknown' };
    const { connectors } = this.#options;
    if (targetType === 'physical_board') {
      const board = await this.#options.board(target.id);
      if (board.hostname === undefined) return { connection: 'unknown', connectionError: 'it has only a console' };
      await using _session = await connectors.openShell({ ...board, hostname: board.hostname }, options);
      return { connection: 'connected' };
    }
    const { vm } = await placedDeployment(this.#store, deploymentId);
    if (vm === undefined) return { connection: 'unknown' };
    await using session = await connectors.openHost(await this.#options.host(target.id), options);
    const found = await session.hypervisor.getVm(vm.name, options);
    if (found?.state === 'running') return { connection: 'connected' };
    return { connection: 'stopped', connectionError: `the VM ${vm.name} is ${found?.state ?? 'gone'}` };
  }
}

function statusOf(row: Selectable<EnvironmentRow>, { completedAt, status }: Deployment): EnvironmentStatus {
  if (row.released_at !== null) return 'released';
  if (completedAt === undefined) return 'provisioning';
  return status === 'completed' ? 'ready' : 'failed';
}

function sshOf(connection: Connection): NonNullable<EnvironmentAccess['ssh']> {
  return {
    hostname: connection.hostname,
    ...(connection.ipAddress !== undefined && { ipAddress: connection.ipAddress }),
    port: connection.sshPort ?? 22,
    username: connection.sshUsername ?? userInfo().username,
  };
}
