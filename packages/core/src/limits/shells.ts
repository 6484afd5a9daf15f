/** Reaching a target, running commands there, and moving files. */
export const shellLimits = {
  /** Connecting to a target, everything included. */
  connectTimeoutMs: 20_000,
  /** Further tries of a connection that timed out. */
  connectRetries: 3,
  /** Before the first of them; doubles each time. */
  connectBackoffMs: 1_000,
  /** A short command on a target. */
  execTimeoutMs: 60_000,
  /** Standard output and error of a short command together. */
  execMaxOutputBytes: 8_388_608,
  /** From TERM to KILL when a process must end. */
  killGraceMs: 5_000,
  /** Standard error that nobody reads is kept up to this; the oldest goes first. */
  unreadStderrBytes: 262_144,
  /** One read of a file that is sent or received. */
  fileChunkBytes: 262_144,
  /** What a target says about a transfer beside its bytes; the oldest goes. */
  transferWordsBytes: 65_536,
  /** How long an SSH server may take to open a channel, or to refuse it. */
  sshChannelOpenMs: 30_000,
  /** A transfer that moves no byte for this long has failed. */
  transferStallMs: 30_000,
  /** Further tries of a transfer that failed or arrived damaged. */
  transferRetries: 3,
  /** Least time between two progress reports of one transfer. */
  progressIntervalMs: 100,
  /** Between two signs of life asked of an SSH server that says nothing. */
  sshKeepaliveIntervalMs: 5_000,
  /** Signs of life in a row that may stay unanswered before an SSH connection counts as lost. */
  sshKeepaliveCount: 3,
  /** Commands at a time on one SSH connection; OpenSSH's MaxSessions is 10, one is kept for signals. */
  sshChannelsPerConnection: 9,
  /** SSH connections to one target at a time. */
  sshConnectionsPerTarget: 4,
  /** Commands that wait for a channel to one target; more are refused (`unavailable`), but for signals. */
  sshWaitingCommands: 1_000,
  /** An SSH connection nobody uses is closed after this. */
  sshIdleMs: 60_000,
  /** Output of a spawned process that waits here for its reader; the rest waits on the target. */
  processBufferBytes: 1_048_576,
} as const;
