import type { Architecture } from './architecture.ts';

/** What a stored file is. */
export const artifactTypes = [
  'kernel_image',
  'initrd',
  'rootfs',
  'device_tree',
  'kernel_modules',
  'kernel_config',
  'build_log',
  'boot_log',
  'test_results',
  'other',
] as const;

/** What a stored file is. */
export type ArtifactType = (typeof artifactTypes)[number];

/** A stored file. */
export interface Artifact {
  readonly id: string;
  /** The work item that made it: a build, boot or test run. */
  readonly producerId: string;
  /** The build it comes from or was made with. */
  readonly buildId?: string;
  readonly artifactType: ArtifactType;
  /** Relative path with `/`; unique for its producer. */
  readonly filename: string;
  /** Where a person finds the bytes (path or URL), where the storage has such a place. */
  readonly path?: string;
  readonly sizeBytes: number;
  /** Lower-case hex. */
  readonly checksumSha256: string;
  readonly architecture: Architecture;
  readonly metadata: Readonly<Record<string, string>>;
  /** Set when its stored bytes were found to be wrong or missing: it is not served until they are stored again. */
  readonly corruptedAt?: number;
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number;
}

/**
 * Which build's artifacts: the first of `buildId`, `commitHash`, `tag`, `branch` and `useLatest` that is
 * set decides; where several builds fit, the newest successful one is meant.
 */
export interface ArtifactSelection {
  readonly buildId?: string;
  /** The whole hash, or its first 7 or more digits where those are clear. */
  readonly commitHash?: string;
  /** A name that a person gave a build. */
  readonly tag?: string;
  /** The latest successful build of this branch. */
  readonly branch?: string;
  /** The latest successful build, whatever its branch. Default false. */
  readonly useLatest?: boolean;
  /** Narrows the others: the same branch name may exist in several repositories. */
  readonly sourceRepository?: string;
  /** Narrows the others: a commit may be built for several architectures. */
  readonly architecture?: Architecture;
}

/**
 * What is kept of the artifacts of builds, and what is removed. Never removed are those of builds that
 * are pinned or tagged, that unfinished work uses, or that were the last to boot on a target.
 */
export interface RetentionPolicy {
  /** Builds that ended longer ago than this are removed, milliseconds. */
  readonly maxAgeMs?: number;
  /**
   * The newest successful builds of each repository, branch and architecture that are kept whatever
   * their age or size. Without `maxAgeMs` all older successful ones are removed. Default 1.
   */
  readonly keepLatest?: number;
  /** While all artifacts take more than this, the oldest builds are removed. */
  readonly maxTotalBytes?: number;
  /** While the storage has less room than this, the oldest builds are removed. */
  readonly minFreeBytes?: number;
}

/** Why the artifacts of a build were removed, or would be. */
export type RemovalReason = 'age' | 'count' | 'total-size' | 'free-space';

/** What a clean-up removed, or with `dryRun` would remove. */
export interface CleanupReport {
  readonly dryRun: boolean;
  readonly builds: readonly {
    readonly buildId: string;
    readonly reason: RemovalReason;
    /** Artifacts that are no longer there. */
    readonly artifacts: number;
    /** Bytes that nothing else needed. */
    readonly freedBytes: number;
  }[];
  /** Blobs in the storage that belonged to no artifact. */
  readonly orphans: number;
  /** All bytes that are free now and were not before. */
  readonly freedBytes: number;
  /** What the artifacts that are left take. */
  readonly keptBytes: number;
}
