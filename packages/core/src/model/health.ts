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

/** How a board is doing. */
export interface BoardHealth {
  readonly connectivity: 'healthy' | 'degraded' | 'unhealthy' | 'unknown';
  readonly temperatureCelsius?: number;
  readonly storagePercent?: number;
  readonly powerStatus: PowerState;
  readonly lastResponseTimeMs?: number;
}
