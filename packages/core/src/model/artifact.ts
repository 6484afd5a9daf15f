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
  /** Milliseconds since the Unix epoch. */
  readonly createdAt: number;
}

/** Which build's artifacts: the first of the fields that is set decides. */
export interface ArtifactSelection {
  readonly buildId?: string;
  readonly commitHash?: string;
  /** The latest successful build of this branch. */
  readonly branch?: string;
  /** Narrows `branch`: the same branch name may exist in several repositories. */
  readonly sourceRepository?: string;
  readonly architecture?: Architecture;
}
