/** Deployments, the environments they are in, and flashes. */
export const deploymentLimits = {
  /** Between two searches for what was left behind: VMs and builds of this lab that nobody knows any more, boards that nobody goes on with. */
  orphanSweepMs: 600_000,
  /** A deployed file that nobody uses any more stays on its host for this long; until then it need not be sent again. */
  hostFilesKeepMs: 604_800_000,
  /** The deployment of a pipeline, from its submission, waiting included. */
  deploymentTimeoutMs: 14_400_000,
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
  /** The file of a block map. */
  blockMapBytes: 8_388_608,
  /** Ranges of a block map that one command on the station writes or reads back. */
  blockMapRangesAtOnce: 1_000,
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
  /** Names that one deployment gives its VM on a host, one after the other, when a hypervisor can't let go of the last. */
  vmNames: 3,
  /** Tries to give an environment back before its VM is left to a person. */
  releaseAttempts: 6,
} as const;
