import type { StoredError } from '../errors.ts';

/** Kinds of durable work. */
export const workKinds = [
  'build',
  'deployment',
  'boot',
  'testrun',
  'pipeline',
  'release',
  'power',
  'flash',
  'notification',
] as const;

/** A kind of durable work. */
export type WorkKind = (typeof workKinds)[number];

/**
 * `waiting`: nothing runs; it goes on when a child ends, capacity frees up or its time comes.
 * `succeeded`, `failed` and `cancelled` are final.
 */
export type WorkState = 'queued' | 'running' | 'waiting' | 'succeeded' | 'failed' | 'cancelled';

/** Whether a state is final. */
export function isFinal(state: WorkState): boolean {
  return state === 'succeeded' || state === 'failed' || state === 'cancelled';
}

/** A work item as everybody may see it. Times are milliseconds since the Unix epoch. */
export interface WorkItem<I = unknown, O = unknown> {
  readonly id: string;
  readonly kind: WorkKind;
  readonly state: WorkState;
  readonly phase?: string;
  readonly input: I;
  readonly output?: O;
  readonly error?: StoredError;
  readonly parentId?: string;
  /** How often another process had to take it over. */
  readonly takeovers: number;
  /** It was asked to stop (cancelled, or its deadline passed) and is putting things in order. */
  readonly stopping: boolean;
  readonly deadlineAt?: number;
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly finishedAt?: number;
}
