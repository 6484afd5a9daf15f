/** Stored files. */
export const artifactLimits = {
  /** Name of one artifact. */
  maxFilenameChars: 512,
  /** A call to the artifact storage that moves no bytes: look up, delete, free space. */
  storageCallTimeoutMs: 30_000,
  /** One read, write or flush of the artifact storage; slower ones have failed. */
  storageStallMs: 120_000,
  /** An artifact is read, hashed and written in blocks of this size. */
  artifactBlockBytes: 1_048_576,
  /** Such blocks of one put: one is filled while those before it are hashed and written. */
  artifactBlocks: 4,
  /**
   * Beyond this an artifact is written past the system's cache, where that can be done: with the pages of
   * large ones the cache costs more time than the hash, and loses what others have in it.
   */
  artifactCachedBytes: 33_554_432,
  /** An artifact is flushed to the disk each time this much of it was written to the system's cache. */
  artifactFlushBytes: 33_554_432,
  /** Blobs that belong to nothing are removed after this: somebody may be about to record them. */
  artifactOrphanMs: 86_400_000,
  /** A claim on stored bytes of somebody who is no work item ends after this. */
  artifactClaimMs: 86_400_000,
  /** A removal of a blob that was begun is over, one way or the other, after this. */
  artifactRemovalMs: 90_000,
  /** Blobs that are removed in one go. */
  artifactRemovalBatch: 50,
  /** A full storage that can't tell its free space is tried again after this. */
  storageRetryMs: 60_000,
  /** How often old artifacts are cleaned up. */
  artifactCleanupMs: 3_600_000,
  /** How often a process looks whether a clean-up is due, or a full storage has room again. */
  artifactWatchMs: 10_000,
  /** Successful builds kept of each repository, branch and architecture. */
  artifactKeepLatest: 1,
  /** Builds that a failed look-up suggests. */
  artifactSuggestions: 5,
  /** Digits of a commit that a look-up needs at least. */
  commitPrefixDigits: 7,
  /** Name of a tag. */
  maxTagChars: 128,
  /** Parts that a large artifact is sent to S3 in; S3 takes 10,000 of them, each of 5 MiB at least. */
  s3PartBytes: 8_388_608,
  s3PartMinBytes: 5_242_880,
  /** Parts of one artifact on their way at the same time; as many are in memory. */
  s3PartsAtATime: 4,
  /** What S3 does by itself, a copy or putting parts together, is over within this time or has failed. */
  s3OwnWorkMs: 1_200_000,
  /** Longest answer of S3 that is no artifact; a page of a listing takes 1 MB. */
  s3AnswerBytes: 4_194_304,
  /** Pages of a listing without a blob, one after the other: a service that has more is none. */
  s3EmptyPages: 64,
  /** What S3 copies in one go. */
  s3CopyBytes: 5_368_709_120,
  /** An unfinished artifact whose writer can't be asked is removed after this. */
  artifactLeftoverMs: 86_400_000,
} as const;
