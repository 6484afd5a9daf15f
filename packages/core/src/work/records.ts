import type { Selectable } from 'kysely';
import type { StoredError } from '../errors.ts';
import type { WorkItem, WorkKind, WorkState } from '../model/work.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { WorkEvent } from '../events.ts';

/** `run_after` of an item that only an event wakes. */
export const never: number = Number.MAX_SAFE_INTEGER;

/** A row as everybody may see it. */
export function toWorkItem<I, O>(row: Selectable<WorkRow>): WorkItem<I, O> {
  return {
    id: row.id,
    kind: row.kind as WorkKind,
    state: row.state as WorkState,
    ...(row.phase !== null && { phase: row.phase }),
    input: JSON.parse(row.input) as I,
    ...(row.output !== null && { output: JSON.parse(row.output) as O }),
    ...(row.error !== null && { error: JSON.parse(row.error) as StoredError }),
    ...(row.parent_id !== null && { parentId: row.parent_id }),
    takeovers: row.takeovers,
    stopping: row.stop_reason !== null,
    ...(row.deadline_at !== null && { deadlineAt: row.deadline_at }),
    createdAt: row.created_at,
    ...(row.started_at !== null && { startedAt: row.started_at }),
    ...(row.finished_at !== null && { finishedAt: row.finished_at }),
  };
}

/** What the view of a piece of work calls its state: how it ended or, before that, what it is doing in the words of its kind. */
export function statusOf<Doing extends string>(
  { state }: WorkItem,
  doing: Doing,
): 'completed' | 'failed' | 'cancelled' | Doing {
  switch (state) {
    case 'succeeded':
      return 'completed';
    case 'failed':
    case 'cancelled':
      return state;
    default:
      return doing;
  }
}

/** What every view of a piece of work tells of it: when it was, and what went wrong. */
export function courseOf(item: WorkItem): {
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly completedAt?: number;
  readonly errorMessage?: string;
  readonly error?: StoredError;
} {
  const { createdAt, error } = item;
  return { ...timesOf(item), ...(error !== undefined && { errorMessage: error.message, error }), createdAt };
}

/** When it started and ended, as far as it has. */
export function timesOf({ startedAt, finishedAt }: WorkItem): {
  readonly startedAt?: number;
  readonly completedAt?: number;
} {
  return {
    ...(startedAt !== undefined && { startedAt }),
    ...(finishedAt !== undefined && { completedAt: finishedAt }),
  };
}

/** How long it took, once it has ended. */
export function durationOf({ startedAt, finishedAt }: WorkItem): { readonly durationSeconds?: number } {
  if (startedAt === undefined || finishedAt === undefined) return {};
  return { durationSeconds: (finishedAt - startedAt) / 1000 };
}

/** The part of an item that events tell. */
export type ToldOfItem = Pick<Selectable<WorkRow>, 'id' | 'kind' | 'parent_id' | 'phase' | 'error'>;

/** What events about the item carry. */
export function toWorkEvent(row: ToldOfItem): WorkEvent {
  return {
    id: row.id,
    ...(row.parent_id !== null && { parentId: row.parent_id }),
    ...(row.phase !== null && { phase: row.phase }),
    ...(row.error !== null && { error: JSON.parse(row.error) as StoredError }),
  };
}

/** What an item waits for that goes from one of its children to the next, see flows.ts. */
export const children = 'children';

/** What a waiting item waits for when it waits for the end of one it started. */
export function endOf(id: string): `end:${string}` {
  return `end:${id}`;
}
