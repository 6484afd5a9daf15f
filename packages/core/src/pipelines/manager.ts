import type { Selectable } from 'kysely';
import { buildLogId } from '../builds/services.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { bootLogId } from '../deployments/records.ts';
import { BringupError, notFound } from '../errors.ts';
import type { Architecture } from '../model/architecture.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import {
  stageNames,
  type EnvironmentType,
  type Pipeline,
  type PipelineRequest,
  type PipelineStage,
  type PipelineStatistics,
  type PipelineStatisticsOptions,
  type StageName,
} from '../model/pipeline.ts';
import { validate } from '../model/validate.ts';
import { isFinal, type WorkItem } from '../model/work.ts';
import type { PipelineRow } from '../store/schema/pipelines.ts';
import type { WorkRow } from '../store/schema/work.ts';
import { insertion, prepared, type Bind } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { testLogId } from '../testruns/handler.ts';
import type { WorkEngine } from '../work/engine.ts';
import { familyOf } from '../work/queue-queries.ts';
import { courseOf, durationOf, statusOf, timesOf, toWorkItem } from '../work/records.ts';
import type { ReadLogOptions } from '../work/logs.ts';
import type { PipelineInput } from './flow.ts';
import { pipelineRequestSchema } from './schema.ts';
import { pipelineStatistics } from './statistics.ts';

const pipelineById = prepared((db, p: Bind<{ id: string }>) =>
  db.selectFrom('pipelines').selectAll().where('id', '=', p('id')),
);

/** The build that a pipeline has started. */
const buildOf = prepared((db, p: Bind<{ id: string }>) =>
  db
    .selectFrom('builds')
    .select('commit_hash')
    .where('id', 'in', (eb) =>
      eb.selectFrom('work_items').select('id').where('parent_id', '=', p('id')).where('child_key', '=', 'build'),
    ),
);

/** Pipelines: build, deploy, boot and test, in order, surviving crashes. */
export class PipelineManager {
  readonly #store: Store;
  readonly #work: WorkEngine;

  constructor(options: { store: Store; work: WorkEngine }) {
    this.#store = options.store;
    this.#work = options.work;
  }

  /** Queues a pipeline. @throws `invalid-input` with one issue per field. */
  async createPipeline(input: PipelineRequest): Promise<Pipeline> {
    return this.#submit(validate('the pipeline', pipelineRequestSchema, input));
  }

  async #submit(input: PipelineInput): Promise<Pipeline> {
    const id = await this.#work.submit('pipeline', input, {
      prepare: (tx, pipelineId) => insertPipeline(tx, pipelineId, input),
      ...(input.timeoutMs !== undefined && { timeoutMs: input.timeoutMs }),
      ...(input.priority !== undefined && { priority: input.priority }),
    });
    return this.getPipelineStatus(id);
  }

  /** @throws `not-found`. */
  async getPipelineStatus(id: string): Promise<Pipeline> {
    const { db } = this.#store;
    const [row, family, build] = await Promise.all([
      pipelineById.first(db, { id }),
      familyOf.all(db, { id }),
      buildOf.first(db, { id }),
    ]);
    if (row === undefined) throw notFound('pipeline', id);
    return this.#view(row, family, build?.commit_hash ?? undefined);
  }

  /** Waits for the end of a pipeline, good or bad. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async waitForPipeline(id: string, options: CallOptions = {}): Promise<Pipeline> {
    await this.#work.finished(id, options);
    return this.getPipelineStatus(id);
  }

  /** Pipelines, newest first. */
  async getPipelineHistory(
    options: HistoryOptions & { readonly sourceRepository?: string } = {},
  ): Promise<readonly Pipeline[]> {
    const rows = await this.#store.db
      .selectFrom('pipelines')
      .select('id')
      .$if(options.before !== undefined, (query) => query.where('id', '<', options.before ?? ''))
      .$if(options.sourceRepository !== undefined, (query) =>
        query.where('repository', '=', options.sourceRepository ?? ''),
      )
      .orderBy('id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map(({ id }) => this.getPipelineStatus(id)));
  }

  /**
   * Stops a pipeline: the stage that runs ends what it started, the environment is given back, logs
   * and artifacts stay. Resolves when the request is stored; {@link PipelineManager.waitForPipeline}
   * tells when it is over.
   * @throws `not-found`.
   */
  async cancelPipeline(id: string): Promise<void> {
    await this.getPipelineStatus(id);
    await this.#work.cancel(id, 'the pipeline was cancelled');
  }

  /**
   * Runs an ended pipeline again from a stage on, as a new pipeline. From any stage but `build` its
   * finished build is used as it is; the environment was given back, so deploy and boot come anew.
   * @throws `not-found`; `conflict` while it runs, or when there is no finished build to go on from.
   */
  async retryPipelineStage(id: string, stage: StageName): Promise<Pipeline> {
    const pipeline = await this.getPipelineStatus(id);
    if (pipeline.completedAt === undefined) {
      throw new BringupError('conflict', `pipeline ${id} has not ended; cancel it first`, { details: { id } });
    }
    const { reuseBuild: _earlier, ...input } = (await this.#work.get<PipelineInput>(id)).input;
    if (stage === 'build') return this.#submit(input);
    const build = pipeline.stages.find(({ name }) => name === 'build');
    if (build?.status !== 'completed' || build.outputId === undefined) {
      throw new BringupError('conflict', `pipeline ${id} has no finished build; retry it from 'build'`, {
        details: { id, stage },
      });
    }
    return this.#submit({ ...input, reuseBuild: build.outputId });
  }

  /**
   * What a stage printed, byte for byte: the build's log, what the console said during the boot, what
   * the tests printed. With `follow` it waits for the stage to begin and goes on to its end. The
   * deploy stage prints nothing; its progress is in the events.
   * @throws `not-found`, `aborted`.
   */
  async *getStageLogs(id: string, stage: StageName, options: ReadLogOptions = {}): AsyncIterable<Uint8Array> {
    const workId = await this.#stageBegun(id, stage, options);
    if (workId === undefined || stage === 'deploy') return;
    const logId = { build: buildLogId, boot: bootLogId, test: testLogId }[stage](workId);
    yield* this.#work.logs.readOf(workId, logId, options);
  }

  /** Id of the work item of a stage; with `follow`, waits until there is one or never will be. */
  async #stageBegun(id: string, stage: StageName, options: ReadLogOptions): Promise<string | undefined> {
    for (;;) {
      using change = this.#work.nextChange(options.signal);
      const pipeline = await this.getPipelineStatus(id);
      const { outputId } = pipeline.stages.find(({ name }) => name === stage) ?? {};
      if (outputId !== undefined || pipeline.completedAt !== undefined || options.follow !== true) return outputId;
      await change.happened;
    }
  }

  async #view(
    row: Selectable<PipelineRow>,
    family: readonly Selectable<WorkRow>[],
    builtCommit: string | undefined,
  ): Promise<Pipeline> {
    const own = family.find(({ id }) => id === row.id);
    if (own === undefined) throw notFound('pipeline', row.id);
    const item = toWorkItem<PipelineInput, unknown>(own);
    const { input } = item;
    const commitHash = builtCommit ?? input.commitHash;
    const children = new Map<string, WorkItem>(
      family.filter((one) => one !== own).map((child) => [child.child_key ?? '', toWorkItem(child)]),
    );
    if (input.reuseBuild !== undefined) children.set('build', await this.#work.get(input.reuseBuild));
    const stages = stageNames.map((name) => stageView(name, children.get(name), isFinal(item.state)));
    // The environment of a deployment that got its own is named after it.
    const deployment = children.get('deploy');
    return {
      id: row.id,
      ...(row.name !== null && { name: row.name }),
      sourceRepository: row.repository,
      branch: row.branch,
      ...(commitHash !== undefined && { commitHash }),
      targetArchitecture: row.architecture as Architecture,
      environmentType: row.environment_type as EnvironmentType,
      ...(deployment !== undefined && { environmentId: deployment.id }),
      environmentConfig: input.environmentConfig ?? {},
      stages,
      status: statusOf(item, item.startedAt === undefined ? 'pending' : 'running'),
      ...(!isFinal(item.state) && item.phase !== undefined && { currentStage: item.phase as StageName }),
      ...courseOf(item),
    };
  }

  /**
   * How pipelines and their stages went: how many succeeded, and how long they took. A build that a
   * retried pipeline reuses counts where it was made.
   */
  getPipelineStatistics(options: PipelineStatisticsOptions = {}): Promise<PipelineStatistics> {
    return pipelineStatistics(this.#store, options);
  }
}

function stageView(name: StageName, item: WorkItem | undefined, pipelineEnded: boolean): PipelineStage {
  if (item === undefined) return { name, status: pipelineEnded ? 'skipped' : 'pending' };
  return {
    name,
    status: statusOf(item, item.state === 'queued' ? 'pending' : 'running'),
    outputId: item.id,
    ...(item.phase !== undefined && { phase: item.phase }),
    ...timesOf(item),
    ...durationOf(item),
    ...(item.error !== undefined && { errorMessage: item.error.message }),
  };
}

const addPipeline = insertion('pipelines');

async function insertPipeline({ db }: StoreTransaction, id: string, input: PipelineInput): Promise<void> {
  await addPipeline(db, {
    id,
    name: input.name ?? null,
    repository: input.sourceRepository,
    branch: input.branch ?? 'HEAD',
    architecture: input.targetArchitecture,
    environment_type: input.environmentType,
  });
}
