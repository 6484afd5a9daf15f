import type { StoredError } from '../errors.ts';
import type { Architecture } from './architecture.ts';
import type { BuildConfig, BuildRequest } from './build.ts';
import type { BootConfig, VmConfig } from './deployment.ts';
import type { TestConfig } from './test-run.ts';

/** The stages, in their order. */
export const stageNames = ['build', 'deploy', 'boot', 'test'] as const;

/** A stage of a pipeline. */
export type StageName = (typeof stageNames)[number];

/** Where and how the pipeline's environment runs. */
export interface EnvironmentConfig {
  readonly vm?: VmConfig;
  readonly boot?: BootConfig;
  readonly hostId?: string;
  readonly requiredLabels?: Readonly<Record<string, string>>;
  /** Files the build does not make, such as an initrd: ids of stored artifacts. */
  readonly extraArtifactIds?: readonly string[];
}

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
    'requiredToolchain' | 'requiredLabels' | 'minCpuCores' | 'minMemoryMb' | 'minStorageGb'
  >;
  readonly environmentType: 'qemu';
  readonly environmentConfig?: EnvironmentConfig;
  readonly tests: TestConfig;
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
  readonly environmentType: 'qemu';
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
