/**
 * Every default and every bound of the SDK, in one place. Units are part of the name. A bound is
 * what keeps one noisy job, board or peer from taking the process down with it.
 */
export const limits = {
  /** Connecting to a target, everything included. */
  connectTimeoutMs: 20_000,
  /** Further tries of a connection that timed out. */
  connectRetries: 3,
  /** Before the first of them; doubles each time. */
  connectBackoffMs: 1_000,
  /** Bits per second of a serial console. */
  serialBaudRate: 115_200,
  /** One write to a serial console: a machine may have stopped its flow. */
  serialWriteMs: 30_000,
  /** Letting go of a serial console. */
  serialCloseMs: 2_000,
  /** How long a serial break lasts: longer than a character at any baud rate in use. */
  serialBreakMs: 250,
  /** What a serial console has said and nobody has read yet, before it is made to wait. */
  serialBufferBytes: 262_144,
  /** Quiet on the connection to a console server before the system asks whether it is still there. */
  serialKeepaliveMs: 5_000,
  /** How long a console server may take to speak first; one that waits for us is gone on with. */
  serialGreetingMs: 250,
  /** How long a telnet server may take to agree on binary; one that does not negotiate is gone on with. */
  serialTelnetAnswerMs: 1_000,
  /** Longest telnet subnegotiation that is kept. */
  serialSubnegotiationBytes: 256,
  /** What an exporter says about a device it can't open, as far as it is quoted. */
  serialErrorBytes: 4_096,
  /** How long a serial console may take to show that somebody answers on it. */
  consoleProofMs: 15_000,
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
  /** A transfer that moves no byte for this long has failed. */
  transferStallMs: 30_000,
  /** Hashing all outputs of a build on its server. */
  hashTimeoutMs: 600_000,
  /** Further tries of a transfer that failed or arrived damaged. */
  transferRetries: 3,
  /** Least time between two progress reports of one transfer. */
  progressIntervalMs: 100,
  /** A call to a hypervisor. Cold capabilities of libvirt can take 8 s. */
  hypervisorCallTimeoutMs: 30_000,
  /** A hypervisor's daemon that says nothing for this long is pinged. */
  hypervisorKeepaliveIntervalMs: 5_000,
  /** Pings in a row without an answer before that connection counts as lost. */
  hypervisorKeepaliveMisses: 3,
  /** Saying goodbye to a hypervisor's daemon, or letting go of a console. */
  hypervisorCloseTimeoutMs: 2_000,
  /** After a VM was reset, its firmware may reset it once more by itself; this long without is the end of it. */
  vmResetSettleMs: 1_000,
  /** Taking a snapshot of a VM, or going back to one. */
  snapshotTimeoutMs: 300_000,
  /** Largest image of a VM's display. */
  screenshotMaxBytes: 67_108_864,
  /** Between two searches of all hosts for VMs of this lab that nobody knows any more. */
  orphanSweepMs: 600_000,
  /** A guest that proves KVM by running must end within this time. */
  kvmProofTimeoutMs: 5_000,

  /** How long a claim on a work item lasts without a heartbeat. */
  leaseMs: 15_000,
  /** Between two heartbeats: three chances within a lease. */
  heartbeatMs: 5_000,
  /** How often a process looks for work that another process queued. */
  workPollMs: 500,
  /** Work items one process runs at the same time; waiting parents don't count. */
  workConcurrency: 16,
  /** Attempts of a work item whose process died, before it is given up. */
  workMaxTakeovers: 10,
  /** Putting back in order what a failed or cancelled work item left behind. */
  workCleanUpMs: 60_000,

  /** One piece of a stored log. */
  logChunkBytes: 65_536,
  /** A log piece is stored at the latest this long after its first byte came in. */
  logFlushMs: 50,
  /** One log; what comes after is dropped and said so at its end. */
  logMaxBytes: 1_073_741_824,
  /** Records one page of a listing holds at most. */
  pageSize: 100,

  /** One poll of a detached command waits this long on the target for news. */
  detachedPollMs: 5_000,
  /** Reconnects in a row without a byte of progress before a target is given up. */
  reconnectAttempts: 5,
  /** First pause before a reconnect; doubles each time. */
  reconnectBackoffMs: 500,

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
  /** A wish to use a group that nobody decides on is dropped after this. */
  approvalWantedMs: 86_400_000,
  /** How long an approval or a denial holds unless it says otherwise. */
  approvalMs: 86_400_000,
  /** What policies decided, and approvals that have expired, are kept this long. */
  policyDecisionKeepMs: 2_592_000_000,
  /** Decisions of policies that are kept, however young. */
  policyDecisionsKept: 100_000,
  /** Between two looks for decisions to forget. */
  policySweepMs: 3_600_000,
  /** Decisions that are forgotten in one transaction. */
  policySweepRows: 1_000,
  /** Events, and failures, that a diagnosis tells. */
  diagnosisEntries: 20,
  /** Lines of a failed build's log that are named in its error. */
  errorLines: 20,
  /** Outputs of one build. */
  maxArtifactsPerBuild: 1_000,
  /** Name of one artifact. */
  maxFilenameChars: 512,

  /** The deployment of a pipeline, from its submission, waiting included. */
  deploymentTimeoutMs: 14_400_000,
  /** A boot, from start to the success pattern. */
  bootTimeoutMs: 180_000,
  /** A VM that says nothing at all for this long never speaks. */
  bootSilenceMs: 60_000,
  /** All tests of one run. */
  testTimeoutMs: 3_600_000,
  /** Longest line that console matching looks at; longer ones are matched in their first part only. */
  consoleLineBytes: 4_096,
  /** Quiet on the console after the last planned result, before a test run counts as over. */
  testQuietMs: 2_000,
  /** Commands of one test run. */
  maxTestCommands: 1_000,
  /** Test results of one run. */
  maxTestResults: 100_000,
  /** Depth of nested subtests. */
  maxTestDepth: 16,

  /** A reservation nobody renews ends after this. */
  reservationMs: 15_000,
  /** A deployment made outside a pipeline is kept this long unless released or extended. */
  deploymentKeepMs: 3_600_000,
  /**
   * One that did not boot is kept this long, so that somebody can look at it, roll it back or try it
   * again; in a pipeline it is given back at once.
   */
  failedDeploymentKeepMs: 600_000,
  /** Nothing is held longer than this from now on; then it must be extended again. */
  environmentMaxKeepMs: 604_800_000,
  /** Hosts or boards that one deployment is tried on. */
  deploymentTargetsTried: 3,
  /** Further tries of a flash that failed. */
  flashRetries: 3,
  /** First pause before a flash is tried again; doubles each time. */
  flashBackoffMs: 1_000,
  /** One image into one slot. */
  flashTimeoutMs: 1_800_000,
  /** An SD card that was switched over is there after this time, or switching it failed. */
  sdMuxSettleMs: 15_000,
  /** A flash tells how far it is at most this often. */
  flashProgressMs: 1_000,
  /** How often a board without a console is asked whether its shell answers. */
  shellPollMs: 2_000,
  /** Further power cycles of a board without a console whose shell does not answer in time. */
  shellBootRetries: 1,
  /** One look at whether what runs is what was deployed. */
  verifyTimeoutMs: 30_000,
  /** Further looks when one took too long or the target was out of reach. */
  verifyRetries: 2,
  /** Tries to give an environment back before its VM is left to a person. */
  releaseAttempts: 6,
  /** A point of priority is worth having asked this much earlier. */
  waitingPriorityMs: 600_000,
  /** Priorities beyond this, up or down, count as this. */
  waitingMaxPriority: 1_000,
  /** A request that has waited this long has a resource held back for it that could fit it. */
  waitingHoldBackMs: 300_000,
  /** A request that waits outside of a work item leaves the list after this. */
  waitingMs: 86_400_000,
  /** How long work that waits for capacity sleeps before it looks by itself, should nobody wake it. */
  waitingRecheckMs: 600_000,
  /** Shapes of waiting requests that are read at a time when a resource has got room. */
  waitingShapesPage: 64,
  /** Shapes of waiting requests that are looked at, at most, when a resource has got room. */
  waitingShapesPerOffer: 4_096,
  /** A holder of whom nothing is known is expected to end this long after it began. */
  expectedHoldMs: 3_600_000,
  /** A holder that is past its expected end is expected to end this much later. */
  expectedOverrunMs: 60_000,
  /** Resources and requests ahead that an estimate of a wait looks at. */
  waitEstimateResources: 64,
  waitEstimateRequests: 256,
  /** Candidates that selection scores for one request where strategies or what was learned have a say. */
  selectionScored: 32,
  /** Candidates that it takes at a time where the load alone decides, and the index has them in order: the best and its alternatives. */
  selectionLeastLoaded: 4,
  /** Candidates that selection looks at, at most, when policies or strategies refuse the first ones. */
  selectionMaxCandidates: 1_024,

  /** Trouble that comes back within this time after it was over is the same alert. */
  alertFlapMs: 600_000,
  /** From this many returns on, notifiers are told of an alert only once it has settled. */
  alertFlapsTold: 2,
  /** How long an alert that comes and goes is left alone before notifiers are told what it has come to. */
  alertSettleMs: 300_000,
  /** Alerts are kept this long after they were resolved. */
  alertKeepMs: 2_592_000_000,
  /** Resolved alerts that are kept. */
  alertsKept: 10_000,
  /** Between two looks for alerts to forget. */
  alertSweepMs: 3_600_000,
  /** What a person writes about an alert. */
  alertTextChars: 4_000,
  /** One try to tell a notifier. */
  deliveryTimeoutMs: 15_000,
  /** Tries to tell a notifier; with the pauses they span some six hours. */
  deliveryAttempts: 16,
  /** First pause before another try; doubles each time. */
  deliveryBackoffMs: 5_000,
  /** Longest such pause, whatever the receiver wishes. */
  deliveryBackoffMaxMs: 3_600_000,
  /** Redirects of a webhook that are followed. */
  webhookRedirects: 3,

  /** One command to a power outlet: shorter than the lease of who gives it, so that a stale one is over. */
  powerCallMs: 10_000,
  /** Further tries of a command that an outlet did not carry out. */
  powerRetries: 2,
  /** First pause before such a try; doubles each time. */
  powerRetryMs: 1_000,
  /** Work that waits for its turn at a board's power looks by itself this often. */
  powerTurnMs: 5_000,
  /** A device that switches power answers one request within this time, or has not answered. */
  pduRequestMs: 3_000,
  /** An outlet reads back what it was switched to within this time, or has not switched. */
  pduSettleMs: 3_000,
  /** Between two looks at an outlet that was switched. */
  pduPollMs: 250,
  /** Longest answer of a device that is taken. */
  pduAnswerBytes: 262_144,
  /** An SNMP request without an answer is sent again after this. */
  pduSnmpResendMs: 1_000,
  /** Times it is sent again. */
  pduSnmpResends: 2,
  /** A board's power stays off for this long: capacitors have to run dry. */
  powerOffMs: 5_000,
  /** Longest step of a board's power sequence. */
  powerStepMaxMs: 3_600_000,
  /** A board must answer within this time after it got power. */
  boardRecoveryMs: 180_000,
  /** Between two looks whether a board answers again. */
  boardAnswerPollMs: 2_000,
  /** One look whether a board answers. */
  boardAnswerMs: 10_000,
  /** Power cycles before a board that does not come back is left to a person. */
  recoveryCycles: 2,
  /** Entries of one board's power history; the oldest go first. */
  powerHistory: 1_000,

  /** How long a statement waits for a lock that another process holds on the SQLite database. */
  sqliteLockTimeoutMs: 5_000,
  /** Transactions that share one commit; the event loop turns at the latest after as many. */
  storeGroupMembers: 64,
  /** Shapes of one query that stay compiled. */
  preparedShapes: 64,
  /** Pages of the SQLite database kept in memory. */
  sqliteCacheKb: 16_384,
  /** Pages of SQLite's log (4 KiB each) after which they are copied to the database: rarely, for pages that change often are copied once. */
  sqliteCheckpointPages: 4_000,
  /** SQL statements that stay prepared. */
  sqliteStatements: 256,

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
  /** First pause before an output is fetched again whose storage failed; doubles each time. */
  artifactRetryMs: 1_000,
  /** Digits of a commit that a look-up needs at least. */
  commitPrefixDigits: 7,
  /** Name of a tag. */
  maxTagChars: 128,

  /** Parts that a large artifact is sent to S3 in; S3 takes 10,000 of them, each of 5 MiB at least. */
  s3PartBytes: 8_388_608,
  s3PartMinBytes: 5_242_880,
  /** Parts of one artifact on their way at the same time; as many are in memory. */
  s3PartsAtATime: 4,
  /** What S3 copies in one go. */
  s3CopyBytes: 5_368_709_120,

  /** An unfinished artifact whose writer can't be asked is removed after this. */
  artifactLeftoverMs: 86_400_000,

  /** Between two signs of life asked of an SSH server that says nothing. */
  sshKeepaliveIntervalMs: 5_000,
  /** Signs of life in a row that may stay unanswered before an SSH connection counts as lost. */
  sshKeepaliveCount: 3,
  /** Commands at a time on one SSH connection; OpenSSH's MaxSessions is 10, one is kept for signals. */
  sshChannelsPerConnection: 9,
  /** SSH connections to one target at a time. */
  sshConnectionsPerTarget: 4,
  /** An SSH connection nobody uses is closed after this. */
  sshIdleMs: 60_000,
  /** Output of a spawned process that waits here for its reader; the rest waits on the target. */
  processBufferBytes: 1_048_576,

  /** A console that is quiet this long after a fatal signature has finished its report. */
  bootReportQuietMs: 1_000,
  /** A fatal report that goes on and on is closed after this long. */
  bootReportMaxMs: 10_000,
  /** Lines kept of one failure report. */
  bootReportLines: 200,
  /** Failure reports and warnings kept of one boot. */
  bootReportsMax: 50,
  /** Console text that waits to be looked at by an expect; older text is dropped. */
  consoleWindowBytes: 262_144,
  /** A console that is quiet this long is taken to wait for input. */
  consoleIdleMs: 1_000,
  /** A board that boots and is quiet this long may be typed to: longer than an autoboot takes from one number to the next. */
  consoleBootQuietMs: 2_500,
  /** From opening a console to a shell that answers, login included. */
  consoleShellTimeoutMs: 60_000,
  /** A board's console that was let go of is listened to for so long, so that the next one misses nothing. */
  consoleKeptMs: 30_000,
  /** What it says meanwhile is kept up to this; the oldest goes first. */
  consoleKeptBytes: 1_048_576,
  /** What waits for a slow watcher of a console, up to this; the oldest goes first. */
  consoleWatcherBytes: 1_048_576,
  /** Typed into a console at a time, then its echo is waited for: a UART's FIFO holds 16 bytes. */
  consoleTypeBytes: 16,
  /** A console that has not echoed what was typed within this time does not echo at all. */
  consoleEchoMs: 1_000,
  /** Between two pieces typed into a console that does not echo. */
  consoleTypePauseMs: 10,
  /** A file moves over a console in blocks of this size; one that arrives damaged is sent again. */
  consoleBlockBytes: 6_144,
  /** One such block, at the slowest baud rate in use. */
  consoleBlockTimeoutMs: 60_000,
  /** Further tries of one block. */
  consoleBlockRetries: 5,
  /** From opening a console to U-Boot's prompt, the restart of the board included. */
  ubootTimeoutMs: 60_000,
  /** U-Boot getting an address. */
  ubootNetworkMs: 60_000,
  /** Loading into memory, or checking what is there. */
  ubootLoadMs: 600_000,
  /** Longest line typed into U-Boot: CONFIG_SYS_CBSIZE is 512 on many boards. */
  ubootLineBytes: 500,
  /** What U-Boot loads and writes at a time; it needs that much memory from the load address on. */
  ubootChunkBytes: 16_777_216,
  /** Tries of one block by YMODEM. */
  ymodemAttempts: 10,
  /** How long a receiver of YMODEM may take to ask for the file after it took the header. */
  ymodemPauseMs: 300,
  /** A receiver of YMODEM that says nothing for this long is gone. */
  ymodemAnswerMs: 10_000,
  /** Longest line typed into a console's shell: busybox drops what goes beyond 1024. */
  consoleInputLineBytes: 1_000,
  /** Diagnostic lines kept of one test; the last ones. */
  testDiagnosticLines: 200,
  /** Complaints about malformed test output kept of one run. */
  testParseErrors: 100,

  /** A trial guest must have run under KVM within this time; a healthy one takes a tenth of it. */
  kvmProofMs: 1_500,
  /** A trial guest that did not run is tried again after this long. */
  kvmDoubtMs: 3_600_000,
  /** VM events that may wait for a slow reader. */
  vmEventBacklog: 1_000,
  /** How often a QEMU host looks for VMs whose end it was not told of. */
  vmProbeMs: 500,
  /** Standard error of a QEMU that is quoted in an error. */
  qemuErrorBytes: 4_096,
  /** One read of a recorded console. */
  consoleReadBytes: 65_536,

  /**
   * The monitoring interval: within it, whatever has become of a resource is known and stored, retries
   * included. docs/decisions/0015-health-budget.md adds up what it is made of.
   */
  healthIntervalMs: 25_000,
  /** Between two looks at a build server or host. */
  healthLookMs: 6_000,
  /** Between two looks at a board. */
  healthBoardLookMs: 2_400,
  /** Looks come up to this much earlier or later, so that they don't march in step. */
  healthJitterPercent: 10,
  /** One look at a build server or host, connecting included. */
  healthProbeMs: 3_000,
  /** One look at a board. */
  healthBoardProbeMs: 2_000,
  /** Further looks at a resource that does not answer before it is offline. */
  healthRetries: 3,
  /** Further tries of a host's hypervisor before the host is degraded. */
  healthHypervisorRetries: 2,
  /** First pause before such a retry; doubles each time. */
  healthBackoffMs: 500,
  /** What changes rarely, such as kernel version and power state, is asked this often. */
  healthFactsMs: 60_000,
  /** Between two looks at a resource that is offline. */
  healthOfflineLookMs: 10_000,
  /** The same where it refused the login: asking often can lock an account. */
  healthRefusedLookMs: 60_000,
  /** Between the first answer of an offline resource and the second, which it takes to be online. */
  healthRecheckMs: 1_000,
  /** A resource that was offline before within this time flaps. */
  healthFlapWindowMs: 600_000,
  /** A flapping resource must answer for this long before it is online; four times as long each further time. */
  healthCalmMs: 15_000,
  /** The longest that gets. */
  healthCalmMaxMs: 300_000,
  /** What looks found is stored at the latest after this. */
  healthFlushMs: 200,
  /** What hardly changed is stored at least this often. */
  healthStoreMs: 30_000,
  /** Looks of one process at a time over connections that are open. */
  healthConcurrency: 1_024,
  /** Looks at a time that first have to connect: each costs some 20 ms of this process. */
  healthConnects: 128,
  /** How often a monitor looks which resources there are. */
  healthRescanMs: 5_000,
  /** Looks in a row without a condition before it is over. */
  healthClearLooks: 3,
  /** How far below its threshold a value must come for that, in percent of the threshold. */
  healthMarginPercent: 5,
  /** Looks of the past that decide whether a connection is degraded. */
  healthConnectivityLooks: 10,
  /** Failed ones among them for that. */
  healthConnectivityFailures: 2,
  /** A change of this many percentage points of CPU or memory is told. */
  healthVisiblePercent: 5,
  /** The same for so many gigabytes of free storage. */
  healthVisibleStorageGb: 1,
  /** The same for temperature. */
  healthVisibleCelsius: 2,
  /** How long every look is kept. */
  healthLooksKeptMs: 3_600_000,
  /** How long the averages of minutes are kept. */
  healthMinutesKeptMs: 21_600_000,
  /** How long the averages of hours are kept. */
  healthHoursKeptMs: 2_592_000_000,
  /** Samples one answer of the history holds at most. */
  healthHistorySamples: 10_000,
  /** Free storage below which a build server warns. */
  healthMinFreeStorageGb: 10,
  /** Utilization above which a host takes no new VMs. */
  healthMaxUtilizationPercent: 85,
  /** Temperature above which a machine warns. */
  healthMaxTemperatureCelsius: 85,
  /** Use of a board's storage above which it warns. */
  healthMaxStoragePercent: 90,
  /** A board that answers later than this is badly connected. */
  healthMaxResponseTimeMs: 1_500,
} as const;
