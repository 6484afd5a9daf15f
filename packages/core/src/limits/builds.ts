/** Builds. */
export const buildLimits = {
  /** Hashing all outputs of a build on its server. */
  hashTimeoutMs: 600_000,
  /** A build, from its submission. */
  buildTimeoutMs: 14_400_000,
  /** What a build's server must have in all, unless the build says otherwise. */
  buildMinCpuCores: 1,
  buildMinMemoryMb: 2_048,
  /** Free space when the server was last looked at. */
  buildMinStorageGb: 10,
  /** A learned build time follows about this many of the latest builds. */
  buildTimeMemory: 4,
  /** Servers a build is tried on before it is given up. */
  buildServersTried: 5,
  /** How long a build is taken to last on a server that has not finished one yet. */
  buildTimeGuessSeconds: 600,
  /** Lines of a failed build's log that are named in its error. */
  errorLines: 20,
  /** What is quoted of each. */
  errorLineChars: 500,
  /** Outputs of one build. */
  maxArtifactsPerBuild: 1_000,
  /** All of them together: a sparse file of any size costs a hostile build nothing. */
  maxBuildOutputBytes: 68_719_476_736,
  /** Builds on a server that the store is asked about at a time, when those are searched for that nobody waits for. */
  leftBuildsBatch: 500,
  /** How long a server remembers that a build is over: longer than a process may stand still and go on as if nothing had been. */
  overMarkMs: 604_800_000,
  /** First pause before an output is fetched again whose storage failed; doubles each time. */
  artifactRetryMs: 1_000,
} as const;
