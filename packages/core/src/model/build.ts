import type { StoredError } from '../errors.ts';
import type { Architecture } from './architecture.ts';
import type { Artifact, ArtifactType } from './artifact.ts';

/** A file that a build makes. */
export interface OutputDeclaration {
  readonly type: ArtifactType;
  /** Path relative to the build's output folder; `*` and `?` match within one folder level. */
  readonly path: string;
  /** Whether the build fails when nothing matches. Default true. */
  readonly required?: boolean;
}

/** The recipes there are. */
export const recipes = ['kernel', 'make', 'script'] as const;

/** How a build is done. */
export type BuildRecipe = (typeof recipes)[number];

/** What all recipes take. */
export interface RecipeBase {
  /** Arguments appended to `make`, or given to the script. */
  readonly extraMakeArgs?: readonly string[];
  /** Variables added to the environment. Values are stored in clear: no secrets. */
  readonly customEnv?: Readonly<Record<string, string>>;
}

/** The Linux kernel, or whatever builds like it. Built out of tree. */
export interface KernelBuildConfig extends RecipeBase {
  readonly recipe: 'kernel';
  /** A make config target, such as `defconfig`, `tinyconfig` or `multi_v7_defconfig`. Default `defconfig`. */
  readonly kernelConfig?: string;
  /** Lines of a config fragment, merged over it. */
  readonly configFragment?: string;
  /** Build and keep modules, if the configuration has any. Default true. */
  readonly enableModules?: boolean;
  /** Build and keep device trees, where the architecture has them. Default true. */
  readonly buildDtbs?: boolean;
}

/** Any source tree with a Makefile. Built in place. */
export interface MakeBuildConfig extends RecipeBase {
  readonly recipe: 'make';
  /** Make targets. Default: the Makefile's own. */
  readonly targets?: readonly string[];
  /** Folder of the Makefile, relative to the tree's root. Default the root. */
  readonly directory?: string;
  readonly outputs: readonly OutputDeclaration[];
}

/** A POSIX shell script run in the root of the source tree. */
export interface ScriptBuildConfig extends RecipeBase {
  readonly recipe: 'script';
  /** Run by `sh -e`: the first command that fails ends it. */
  readonly script: string;
  readonly outputs: readonly OutputDeclaration[];
}

/** How a source tree becomes artifacts. */
export type BuildConfig = KernelBuildConfig | MakeBuildConfig | ScriptBuildConfig;

/** Ask for a build. */
export interface BuildRequest {
  /**
   * Git URL, or an absolute path *on the build server* of a git repository or a plain source tree.
   * A plain tree is copied as it is.
   */
  readonly sourceRepository: string;
  /** Branch or tag. Default `HEAD`: the repository's own default branch. */
  readonly branch?: string;
  /** Commit to build. Default: the branch's head at the time the build starts. */
  readonly commitHash?: string;
  readonly targetArchitecture: Architecture;
  readonly buildConfig: BuildConfig;
  /** Build on this server or not at all. Default: selected. */
  readonly serverId?: string;
  /** `gcc` or `clang`. Default: any. */
  readonly requiredToolchain?: string;
  readonly requiredLabels?: Readonly<Record<string, string>>;
  /** Only servers of this group. */
  readonly groupId?: string;
  /** The team it is for; policies may reserve servers for teams. */
  readonly team?: string;
  /** Who asks for it; policies may want it approved. */
  readonly requester?: string;
  /** Default 1. */
  readonly minCpuCores?: number;
  /** Default 2048. */
  readonly minMemoryMb?: number;
  /** Free space on the server. Default 10. */
  readonly minStorageGb?: number;
  /** From its submission, waiting included. Default 4 h. */
  readonly timeoutMs?: number;
  /** Higher goes first. Default 0. */
  readonly priority?: number;
}

/** State of a build. */
export type BuildStatus = 'queued' | 'building' | 'completed' | 'failed' | 'cancelled';

/** What a build used of its server. */
export interface BuildResourceUse {
  /** Processor time of the recipe and all it started. */
  readonly cpuSeconds: number;
  /** Size of its folder when it had ended. */
  readonly storageMb: number;
}

/** A build. Times are milliseconds since the Unix epoch. */
export interface BuildJob {
  readonly id: string;
  readonly sourceRepository: string;
  readonly branch: string;
  /** The commit that is built; absent until the server has resolved it. `tree-…` for a plain tree. */
  readonly commitHash?: string;
  readonly targetArchitecture: Architecture;
  readonly buildConfig: BuildConfig;
  readonly serverId?: string;
  readonly status: BuildStatus;
  /** What it is doing: `waiting`, `preparing`, `building`, `collecting`; `disk-full` while room is made on its server; `storage-full` while it waits for room in the artifact storage. */
  readonly phase?: string;
  /** While it waits: when it is expected to get a server, from how long the present builds are expected to take. */
  readonly estimatedStartAt?: number;
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly durationSeconds?: number;
  /** Of a build that has succeeded, where the server could tell. */
  readonly resourceUse?: BuildResourceUse;
  readonly artifacts: readonly Artifact[];
  /** Whether a person wants the artifacts kept. Tagged ones are kept too. */
  readonly pinned: boolean;
  /** Names that people gave it. */
  readonly tags: readonly string[];
  /** Set once the artifacts were removed: this record stays. */
  readonly artifactsRemovedAt?: number;
  /** Where a person finds the stored log, once it is an artifact. */
  readonly logPath?: string;
  readonly errorMessage?: string;
  readonly error?: StoredError;
  readonly createdAt: number;
}

/** How builds have ended. */
export interface BuildStatistics {
  readonly completed: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Completed of those that were completed or failed, 0…1; absent when there are none. */
  readonly successRate?: number;
  /** From the start to the end of those that were completed, waiting for a server included. */
  readonly averageSeconds?: number;
}

/** What is queued and under way. Times are milliseconds since the Unix epoch. */
export interface BuildQueueStatus {
  readonly queued: number;
  readonly building: number;
  readonly queuedByArchitecture: Readonly<Partial<Record<Architecture, number>>>;
  /** When the one that waits longest was submitted. */
  readonly oldestQueuedAt?: number;
}
