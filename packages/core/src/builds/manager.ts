import type { Selectable } from 'kysely';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { notFound } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Architecture } from '../model/architecture.ts';
import type {
  BuildConfig,
  BuildJob,
  BuildQueueStatus,
  BuildRequest,
  BuildResourceUse,
  BuildStatistics,
} from '../model/build.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import type { BuildServer } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import { buildRequest } from '../selection/requests.ts';
import { estimateWait } from '../selection/wait-estimate.ts';
import type { BuildRow } from '../store/schema/builds.ts';
import { insertion } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import type { ReadLogOptions } from '../work/logs.ts';
import { courseOf, durationOf, statusOf } from '../work/records.ts';
import { buildLogId } from './services.ts';
import { checkNamedServer } from './named-server.ts';
import { buildRequestSchema } from './schema.ts';
import { buildQueueStatus, buildStatistics, type BuildStatisticsFilter } from './statistics.ts';

/** Builds: submit, watch, cancel, look up. */
export class BuildJobManager {
  readonly #store: Store;
  readonly #work: WorkEngine;
  readonly #artifacts: ArtifactRepository;
  readonly #clock: Clock;
  readonly #buildServer: (id: string) => Promise<BuildServer>;

  constructor(options: {
    store: Store;
    work: WorkEngine;
    artifacts: ArtifactRepository;
    clock: Clock;
    buildServer: (id: string) => Promise<BuildServer>;
  }) {
    this.#clock = options.clock;
    this.#buildServer = options.buildServer;
    this.#store = options.store;
    this.#work = options.work;
    this.#artifacts = options.artifacts;
  }

  /**
   * Queues a build. It runs as soon as a server that fits has room.
   * @throws `invalid-input` with one issue per field; for a named server `not-found`, `toolchain-missing`
   * (naming the servers that have it) and `insufficient-resources`.
   */
  async submitBuild(input: BuildRequest): Promise<BuildJob> {
    const request = validate('the build', buildRequestSchema, input);
    if (request.serverId !== undefined)
      await checkNamedServer(this.#store, await this.#buildServer(request.serverId), request);
    const id = await this.#work.submit('build', request, {
      timeoutMs: request.timeoutMs ?? limits.buildTimeoutMs,
      ...(request.priority !== undefined && { priority: request.priority }),
      prepare: (tx, buildId) => insertBuild(tx, buildId, request),
    });
    return this.getBuildStatus(id);
  }

  /** @throws `not-found`. */
  async getBuildStatus(id: string): Promise<BuildJob> {
    const row = await this.#store.db.selectFrom('builds').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw notFound('build', id);
    const job = await this.#view(row);
    const estimatedStartAt = job.status === 'queued' ? await this.#estimatedStart(id) : undefined;
    return { ...job, ...(estimatedStartAt !== undefined && { estimatedStartAt }) };
  }

  /** When a build that waits is expected to get a server; undefined when none that fits is in service. */
  async #estimatedStart(id: string): Promise<number | undefined> {
    const { input } = await this.#work.get<BuildRequest>(id);
    const { db } = this.#store;
    const turn = await db.selectFrom('waiting').select(['rank', 'seq']).where('waiter', '=', id).executeTakeFirst();
    const now = this.#clock.now();
    const waitMs = await estimateWait(db, buildRequest(input), now, turn);
    return waitMs === undefined ? undefined : now + waitMs;
  }

  /** Waits for the end of a build, good or bad. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async waitForBuild(id: string, options: CallOptions = {}): Promise<BuildJob> {
    await this.#work.finished(id, options);
    return this.getBuildStatus(id);
  }

  /** What the build printed, byte for byte; with `follow` as it comes, to its end. */
  getBuildLogs(id: string, options: ReadLogOptions = {}): AsyncIterable<Uint8Array> {
    return this.#work.logs.readOf(id, buildLogId(id), options);
  }

  /** Stops a build and all it started on its server. One that has ended stays as it is. @throws `not-found`. */
  async cancelBuild(id: string): Promise<void> {
    await this.getBuildStatus(id);
    await this.#work.cancel(id, 'the build was cancelled');
  }

  /** Submits the same build again. @throws `not-found`. */
  async retryBuild(id: string): Promise<BuildJob> {
    const { input } = await this.#work.get<BuildRequest>((await this.getBuildStatus(id)).id);
    return this.submitBuild(input);
  }

  /** How builds have ended and how long they took, on one server or of one repository if asked for. */
  getBuildStatistics(filter: BuildStatisticsFilter = {}): Promise<BuildStatistics> {
    return buildStatistics(this.#store, filter);
  }

  /** What is queued and under way. */
  getQueueStatus(): Promise<BuildQueueStatus> {
    return buildQueueStatus(this.#store);
  }

  /** Builds, newest first. */
  async getBuildHistory(options: HistoryOptions & { readonly serverId?: string } = {}): Promise<readonly BuildJob[]> {
    const rows = await this.#store.db
      .selectFrom('builds')
      .selectAll()
      .$if(options.before !== undefined, (query) => query.where('id', '<', options.before ?? ''))
      .$if(options.serverId !== undefined, (query) => query.where('server_id', '=', options.serverId ?? ''))
      .orderBy('id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map((row) => this.#view(row)));
  }

  async #view(row: Selectable<BuildRow>): Promise<BuildJob> {
    const item = await this.#work.get(row.id);
    const artifacts = await this.#artifacts.getArtifactsByBuild(row.id);
    const logPath = artifacts.find((artifact) => artifact.artifactType === 'build_log')?.path;
    return {
      id: row.id,
      sourceRepository: row.repository,
      branch: row.branch,
      ...(row.commit_hash !== null && { commitHash: row.commit_hash }),
      targetArchitecture: row.architecture as Architecture,
      buildConfig: JSON.parse(row.config) as BuildConfig,
      ...(row.server_id !== null && { serverId: row.server_id }),
      status: statusOf(item, item.state === 'running' ? 'building' : 'queued'),
      ...(item.phase !== undefined && { phase: item.phase }),
      ...(row.resource_use !== null && { resourceUse: JSON.parse(row.resource_use) as BuildResourceUse }),
      artifacts,
      pinned: row.pinned === 1,
      tags: await this.#tags(row.id),
      ...(row.artifacts_removed_at !== null && { artifactsRemovedAt: row.artifacts_removed_at }),
      ...(logPath !== undefined && { logPath }),
      ...courseOf(item),
      ...durationOf(item),
    };
  }

  async #tags(buildId: string): Promise<string[]> {
    const rows = await this.#store.db
      .selectFrom('build_tags')
      .select('tag')
      .where('build_id', '=', buildId)
      .orderBy('tag')
      .execute();
    return rows.map((row) => row.tag);
  }
}

const addBuild = insertion('builds');

/** Writes the build's own record beside its work item. */
export async function insertBuild({ db }: StoreTransaction, id: string, request: BuildRequest): Promise<void> {
  await addBuild(db, {
    id,
    repository: request.sourceRepository,
    branch: request.branch ?? 'HEAD',
    wanted_commit: request.commitHash ?? null,
    commit_hash: null,
    architecture: request.targetArchitecture,
    config: JSON.stringify(request.buildConfig),
    server_id: null,
    wanted_server_id: request.serverId ?? null,
    succeeded_at: null,
    resource_use: null,
    pinned: 0,
    artifacts_removed_at: null,
  });
}
