import type { JsonValue } from '../errors.ts';

/** How bad it is, from least to worst. */
export const alertSeverities = ['info', 'warning', 'critical'] as const;

/** How bad it is. */
export type AlertSeverity = (typeof alertSeverities)[number];

/** What kinds of trouble there are. */
export const alertTypes = [
  'unreachable',
  'authentication-failed',
  'degraded',
  'resources-low',
  'temperature',
  'power',
  'connectivity',
  'build-failed',
  'deployment-failed',
  'flash-failed',
  'pipeline-failed',
  'test-failed',
  'storage-full',
  'disk-full',
  'artifact-corrupted',
  'left-behind',
  'manual-intervention',
  'approval-wanted',
  'custom',
] as const;

/** What kind of trouble it is. */
export type AlertType = (typeof alertTypes)[number];

/** `open` until somebody takes note of it (`acknowledged`) or it is over (`resolved`). */
export type AlertState = 'open' | 'acknowledged' | 'resolved';

/**
 * Something a person should know. The same trouble of the same subject is one alert for as long as it
 * lasts, however often it is noticed. Times are milliseconds since the Unix epoch.
 */
export interface Alert {
  readonly id: string;
  readonly type: AlertType;
  readonly severity: AlertSeverity;
  readonly state: AlertState;
  /**
   * What it is about: the id of a resource or a deployment; for builds and pipelines what they were a try
   * of, such as `https://git.example/linux.git main arm64`. Empty for the lab as a whole.
   */
  readonly subject: string;
  /** For a person: what happened and what to do. Never holds a secret. */
  readonly message: string;
  readonly details: { readonly [key: string]: JsonValue };
  /** How often it was noticed since it was raised. */
  readonly count: number;
  readonly raisedAt: number;
  readonly lastSeenAt: number;
  readonly acknowledgedAt?: number;
  readonly acknowledgedBy?: string;
  readonly resolvedAt?: number;
  /** Why it is over. */
  readonly resolution?: string;
}
