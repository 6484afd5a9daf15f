/** Looking after resources. */
export const healthLimits = {
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
  /** Parts that the resources are divided into between the processes that watch: the most that can. */
  healthShards: 32,
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
