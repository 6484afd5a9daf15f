import type { StoredError } from '../errors.ts';
import type { Architecture } from './architecture.ts';
import type { BuildConfig, BuildRequest } from './build.ts';
import type { BoardDeploymentRequest, DeploymentRequestBase, QemuDeploymentRequest } from './deployment.ts';
import type { TestConfig } from './test-run.ts';

/** The stages, in their order. */
export const stageNames = ['build', 'deploy', 'boot', 'test'] as const;

/** A stage of a pipeline. */
export type StageName = (typeof stageNames)[number];

/** Where a pipeline's tests run: in a VM or on a board. */
export type EnvironmentType = 'qemu' | 'physical_board';

/** Where and how the pipeline's environment runs. `vm` and `hostId` are for VMs, what begins with board for boards. */
export interface EnvironmentConfig
  extends
    Pick<QemuDeploymentRequest, 'vm' | 'hostId'>,
    Pick<BoardDeploymentRequest, 'boardId' | 'boardTypes' | 'requiredPeripherals' | 'slots' | 'firmwareVersion'>,
    Pick<DeploymentRequestBase, 'boot' | 'requiredLabels' | 'groupId' | 'extraArtifactIds'> {}

/** Ask for a pipeline. */
export interface PipelineRequest {
  readonly name?: string;
  /** As in a build: a git URL, or an absolute path on the build server. */
  readonly sourceRepository: string;
  /** Default `HEAD`. */
  readonly branch?: string;
  readonly commitHash?: string;
  readonly targetArchitecture: Architecture;
  readonly buildConfig: BuildConfig;
  readonly serverId?: string;
  /** What the build needs of its server, beyond a compiler. */
  readonly buildRequirements?: Pick<
    BuildRequest,
    'requiredToolchain' | 'requiredLabels' | 'groupId' | 'minCpuCores' | 'minMemoryMb' | 'minStorageGb'
  >;
  readonly environmentType: EnvironmentType;
  readonly environmentConfig?: EnvironmentConfig;
  readonly tests: TestConfig;
  /** The team it is for, as policies know it. */
  readonly team?: string;
  /** Who asks, as policies know them. */
  readonly requester?: string;
  /** From submission to the end. Default: none beyond those of its stages. */
  readonly timeoutMs?: number;
  readonly priority?: number;
}

/** State of a pipeline. */
export type PipelineStatus = 'pending' | 'running' | 'completed' | 'failed' | 'cancelled';

/** One stage. */
export interface PipelineStage {
  readonly name: StageName;
  readonly status: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled' | 'skipped';
  readonly phase?: string;
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly durationSeconds?: number;
  /** The build, deployment, boot or test run. */
  readonly outputId?: string;
  readonly errorMessage?: string;
}

/** A pipeline. Times are milliseconds since the Unix epoch. */
export interface Pipeline {
  readonly id: string;
  readonly name?: string;
  readonly sourceRepository: string;
  readonly branch: string;
  readonly commitHash?: string;
  readonly targetArchitecture: Architecture;
  readonly environmentType: EnvironmentType;
  /** The environment of its deployment, once there is one. */
  readonly environmentId?: string;
  readonly environmentConfig: EnvironmentConfig;
  readonly stages: readonly PipelineStage[];
  readonly status: PipelineStatus;
  readonly currentStage?: StageName;
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly errorMessage?: string;
  readonly error?: StoredError;
  readonly createdAt: number;
}

/** What became of the stages of one name. */
export interface StageStatistics {
  readonly name: StageName;
  /** Stages that ran to an end. */
  readonly runs: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Of those that completed or failed, 0…1; absent when there is none. */
  readonly successRate?: number;
  /** Of those that completed, from being claimed first to the end, waiting included. */
  readonly meanDurationSeconds?: number;
  readonly longestDurationSeconds?: number;
}

/** What became of pipelines. */
export interface PipelineStatistics {
  readonly total: number;
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly unfinished: number;
  /** Of those that completed or failed, 0…1; absent when there is none. */
  readonly successRate?: number;
  readonly meanDurationSeconds?: number;
  /** In the order of the stages. */
  readonly stages: readonly StageStatistics[];
}

/** Which pipelines are counted. */
export interface PipelineStatisticsOptions {
  readonly sourceRepository?: string;
  readonly branch?: string;
  readonly targetArchitecture?: Architecture;
  readonly environmentType?: EnvironmentType;
  /** Created at or after this time, milliseconds since the Unix epoch. */
  readonly since?: number;
}
