import type { BuildRequest } from '../model/build.ts';
import type { PipelineRequest, StageName } from '../model/pipeline.ts';
import { stageNames } from '../model/pipeline.ts';
import { isFinal } from '../model/work.ts';
import { BringupError, fromStoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import { insertBuild } from '../builds/manager.ts';
import { insertDeployment, type DeploymentInput } from '../deployments/records.ts';
import type { ReleaseInput } from '../deployments/release-handler.ts';
import type { BootInput } from '../deployments/services.ts';
import type { TestRunInput } from '../testruns/handler.ts';
import { insertTestRun } from '../testruns/manager.ts';
import type { FlowStart, FlowState, FlowStep, WorkFlow } from '../work/flow.ts';

/** A pipeline as it is queued. */
export interface PipelineInput extends PipelineRequest {
  /** A finished build to go on from, in a retry. */
  readonly reuseBuild?: string;
}

/** Ids of what the stages did, as far as they got. */
export type PipelineOutput = { readonly [Stage in StageName]?: string };

/**
 * Build, deploy, boot, test: each stage is a work item of its own, started when the one before has
 * succeeded. When the pipeline ends, however it ends, its environment is given back.
 */
export class PipelineFlow implements WorkFlow<PipelineInput, PipelineOutput> {
  readonly kind = 'pipeline';

  next(state: FlowState<PipelineInput>): FlowStep<PipelineOutput> {
    const done: Record<string, string> = {};
    for (const stage of stageNames) {
      if (stage === 'build' && state.input.reuseBuild !== undefined) {
        done[stage] = state.input.reuseBuild;
        continue;
      }
      const child = state.children.get(stage);
      if (child === undefined) return { start: { key: stage, phase: stage, ...stageWork(state, stage, done) } };
      if (!isFinal(child.state)) return 'wait';
      if (child.error !== undefined) throw stageFailed(stage, child.id, fromStoredError(child.error));
      done[stage] = child.id;
    }
    return this.afterwards(state) ?? { output: done };
  }

  afterwards({ children }: FlowState<PipelineInput>): ReturnType<WorkFlow<unknown, unknown>['afterwards']> {
    const deployment = children.get('deploy');
    if (deployment === undefined) return undefined;
    const release = children.get('release');
    if (release !== undefined) return isFinal(release.state) ? undefined : 'wait';
    // The environment of a deployment that got its own is named after it.
    const input: ReleaseInput = { environmentId: deployment.id };
    return { start: { key: 'release', kind: 'release', input } };
  }
}

function stageFailed(stage: StageName, workId: string, error: BringupError): BringupError {
  return new BringupError(error.code, `${stage}: ${error.message}`, {
    retryable: error.retryable,
    details: { ...error.details, stage, workId },
  });
}

function stageWork(
  { id: pipelineId, input, now }: FlowState<PipelineInput>,
  stage: StageName,
  done: Readonly<Record<string, string>>,
): Omit<FlowStart, 'key'> {
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
      const deployment = deploymentOf(pipelineId, input, done['build'] ?? '');
      return {
        kind: 'deployment',
        input: deployment,
        prepare: (tx, id) => insertDeployment(tx, id, deployment, now),
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

function deploymentOf(pipelineId: string, input: PipelineInput, buildId: string): DeploymentInput {
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
    holder: pipelineId,
  };
}

function asker({ team, requester }: PipelineInput): Pick<PipelineInput, 'team' | 'requester'> {
  return { ...(team !== undefined && { team }), ...(requester !== undefined && { requester }) };
}
