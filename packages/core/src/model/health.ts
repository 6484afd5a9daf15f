import type { PowerState } from './power.ts';

/** What a machine is busy with, as measured. */
export interface ResourceUtilization {
  /** 0…100. */
  readonly cpuPercent: number;
  /** 0…100. */
  readonly memoryPercent: number;
  /** Of the workspace's file system, 0…100. */
  readonly storagePercent: number;
  /** Since the machine was booted, all interfaces but loopback. */
  readonly networkBytesIn: number;
  readonly networkBytesOut: number;
}

/** How well a resource answers: `degraded` when it answers late or not every time, `unhealthy` when it is offline. */
export type Connectivity = 'healthy' | 'degraded' | 'unhealthy' | 'unknown';

/** How a machine of any kind is doing, beside what it is busy with. */
export interface MachineHealth {
  readonly connectivity: Connectivity;
  /** Of the hottest thermal zone. Absent where the machine has none. */
  readonly temperatureCelsius?: number;
  /** Of the workspace's file system, 0…100. */
  readonly storagePercent?: number;
  /** Of the workspace's file system. */
  readonly freeStorageGb?: number;
  readonly lastResponseTimeMs?: number;
  /** Version of the running kernel, as `uname -r` says it. */
  readonly kernelVersion?: string;
  /** Compilers at work on a build server, whoever started them. */
  readonly activeCompilations?: number;
  /** VMs that run on a host, whoever started them. */
  readonly runningVms?: number;
}

/** How a board is doing. */
export interface BoardHealth extends MachineHealth {
  /** What its outlet says; `unknown` where there is none that can tell. */
  readonly powerStatus: PowerState;
}
