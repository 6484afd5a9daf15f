import type { BuildRequest } from '../model/build.ts';
import type { PipelineRequest, StageName } from '../model/pipeline.ts';
import { stageNames } from '../model/pipeline.ts';
import type { WorkItem, WorkKind } from '../model/work.ts';
import { BringupError, fromStoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import { insertBuild } from '../builds/manager.ts';
import { insertDeployment, type DeploymentInput } from '../deployments/records.ts';
import type { ReleaseInput } from '../deployments/release-handler.ts';
import type { BootInput } from '../deployments/services.ts';
import type { TestRunInput } from '../testruns/handler.ts';
import { insertTestRun } from '../testruns/manager.ts';
import type { Store } from '../store/store.ts';
import type { ChildOptions, WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';

/** A pipeline as it is queued. */
export interface PipelineInput extends PipelineRequest {
  /** A finished build to go on from, in a retry. */
  readonly reuseBuild?: string;
}

/** Ids of what the stages did, as far as they got. */
export type PipelineOutput = { readonly [Stage in StageName]?: string };

/** What is started for a stage. */
interface StageWork {
  readonly kind: WorkKind;
  readonly input: unknown;
  readonly prepare?: ChildOptions['prepare'];
  readonly timeoutMs?: number;
}

/**
 * Build, deploy, boot, test: each stage is a work item of its own, started when the one before has
 * succeeded. The pipeline sleeps in between; when it ends, however it ends, its environment is given
 * back.
 */
export class PipelineHandler implements WorkHandler<PipelineInput, PipelineOutput> {
  readonly kind = 'pipeline';
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async run(context: WorkContext, input: PipelineInput): Promise<WorkResult<PipelineOutput>> {
    const done: Record<string, string> = {};
    for (const stage of stageNames) {
      const reused = stage === 'build' ? input.reuseBuild : undefined;
      done[stage] = reused ?? (await this.#runStage(context, input, stage, done)).id;
    }
    await this.#giveBack(context);
    return { output: done };
  }

  async #runStage(
    context: WorkContext,
    input: PipelineInput,
    stage: StageName,
    done: Readonly<Record<string, string>>,
  ): Promise<WorkItem> {
    const { kind, input: stageInput, prepare, timeoutMs } = stageWork(context, input, stage, done);
    const item = await context.child(stage, kind, stageInput, {
      ...(timeoutMs !== undefined && { timeoutMs }),
      prepare: async (tx, id) => {
        await context.phaseIn(tx, stage);
        await prepare?.(tx, id);
      },
    });
    if (item.error !== undefined) {
      const error = fromStoredError(item.error);
      throw new BringupError(error.code, `${stage}: ${error.message}`, {
        retryable: error.retryable,
        details: { ...error.details, stage, workId: item.id },
      });
    }
    return item;
  }

  async #giveBack(context: WorkContext): Promise<void> {
    const deployment = await this.#store.db
      .selectFrom('work_items')
      .select('id')
      .where('parent_id', '=', context.id)
      .where('child_key', '=', 'deploy')
      .executeTakeFirst();
    if (deployment === undefined) return;
    // The environment of a deployment that got its own is named after it.
    const release: ReleaseInput = { environmentId: deployment.id };
    await context.child('release', 'release', release, { evenIfCancelled: true });
  }

  async cleanUp(context: WorkContext): Promise<void> {
    await this.#giveBack(context);
  }
}

function stageWork(
  context: WorkContext,
  input: PipelineInput,
  stage: StageName,
  done: Readonly<Record<string, string>>,
): StageWork {
  const { environmentConfig = {} } = input;
  switch (stage) {
    case 'build': {
      const request: BuildRequest = {
        sourceRepository: input.sourceRepository,
        targetArchitecture: input.targetArchitecture,
        buildConfig: input.buildConfig,
        ...(input.branch !== undefined && { branch: input.branch }),
        ...(input.commitHash !== undefined && { commitHash: input.commitHash }),
        ...(input.serverId !== undefined && { serverId: input.serverId }),
        ...asker(input),
        ...(input.buildRequirements !== undefined && input.buildRequirements),
        ...asker(input),
      };
      return {
        kind: 'build',
        input: request,
        prepare: (tx, id) => insertBuild(tx, id, request),
        timeoutMs: limits.buildTimeoutMs,
      };
    }
    case 'deploy': {
      const deployment = deploymentOf(context, input, done['build'] ?? '');
      return {
        kind: 'deployment',
        input: deployment,
        prepare: (tx, id) => insertDeployment(tx, id, deployment, context.clock.now()),
        timeoutMs: limits.deploymentTimeoutMs,
      };
    }
    case 'boot': {
      const { boot } = environmentConfig;
      const bootInput: BootInput = { deploymentId: done['deploy'] ?? '', ...(boot !== undefined && { boot }) };
      return { kind: 'boot', input: bootInput };
    }
    case 'test': {
      const testInput: TestRunInput = { deploymentId: done['deploy'] ?? '', tests: input.tests };
      return { kind: 'testrun', input: testInput, prepare: (tx, id) => insertTestRun(tx, id, testInput.deploymentId) };
    }
  }
}

function deploymentOf(context: WorkContext, input: PipelineInput, buildId: string): DeploymentInput {
  // Its boot is a stage of its own.
  const { boot: _boot, ...place } = input.environmentConfig ?? {};
  const targetType = input.environmentType === 'qemu' ? 'qemu_host' : 'physical_board';
  return {
    ...place,
    ...asker(input),
    targetType,
    artifacts: { buildId },
    architecture: input.targetArchitecture,
    withBoot: false,
    holder: context.id,
  };
}

function asker({ team, requester }: PipelineInput): Pick<PipelineInput, 'team' | 'requester'> {
  return { ...(team !== undefined && { team }), ...(requester !== undefined && { requester }) };
}
