import type { Selectable, SelectQueryBuilder } from 'kysely';
import type { StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { PowerAction, PowerEvent, PowerResult, PowerTrigger } from '../model/power.ts';
import { isFinal, type WorkState } from '../model/work.ts';
import type { PowerEventRow } from '../store/schema/power.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { Schema } from '../store/schema.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

/** A change of a board's power, as it is queued. */
export interface PowerInput {
  readonly boardId: string;
  readonly action: PowerAction;
  readonly trigger: PowerTrigger;
  /** Who asks. */
  readonly by: string;
  readonly reason: string;
  /** Whoever holds the board and asks for it, or in whose name it is asked. */
  readonly holder?: string;
  /** Even while somebody else holds it. */
  readonly force?: boolean;
  /** Power cycles before it is given up. Default 1. */
  readonly cycles?: number;
}

/** How it ended. */
export interface PowerOutput {
  readonly result: PowerResult;
}

/** What waiting power work of a board is woken by. */
export function powerTopic(boardId: string): string {
  return `power:${boardId}`;
}

/** Writes the entry of the history that belongs to a work item, and forgets the oldest ones of the board. */
export async function insertPowerEvent(tx: StoreTransaction, id: string, input: PowerInput): Promise<void> {
  await tx.db
    .insertInto('power_events')
    .values({
      id,
      board_id: input.boardId,
      action: input.action,
      trigger_kind: input.trigger,
      requested_by: input.by,
      reason: input.reason,
      cycles: 0,
      off_at: null,
      on_at: null,
      answered_at: null,
    })
    .execute();
  const beyond = await tx.db
    .selectFrom('power_events')
    .select('id')
    .where('board_id', '=', input.boardId)
    .orderBy('id', 'desc')
    .offset(limits.powerHistory)
    .limit(1)
    .executeTakeFirst();
  if (beyond === undefined) return;
  await tx.db.deleteFrom('power_events').where('board_id', '=', input.boardId).where('id', '<=', beyond.id).execute();
}

/** An entry of the history with what its work item says. */
export type PowerEventRecord = PowerEventRow &
  Pick<WorkRow, 'state' | 'output' | 'error' | 'created_at' | 'finished_at'>;

/** Entries of the history with what their work items say. */
export function powerEvents(
  db: Pick<Store['db'], 'selectFrom'>,
): SelectQueryBuilder<Schema, 'power_events' | 'work_items', PowerEventRecord> {
  return db
    .selectFrom('power_events')
    .innerJoin('work_items', 'work_items.id', 'power_events.id')
    .selectAll('power_events')
    .select([
      'work_items.state',
      'work_items.output',
      'work_items.error',
      'work_items.created_at',
      'work_items.finished_at',
    ]);
}

/** The oldest change of a board's power that has not ended. */
export async function powerUnderWay(
  db: Pick<Store['db'], 'selectFrom'>,
  boardId: string,
): Promise<PowerEvent | undefined> {
  const row = await powerEvents(db)
    .where('power_events.board_id', '=', boardId)
    .where('work_items.state', 'in', ['queued', 'running', 'waiting'])
    .orderBy('power_events.id')
    .limit(1)
    .executeTakeFirst();
  return row && toPowerEvent(row);
}

/** The row as users see it. */
export function toPowerEvent(row: Selectable<PowerEventRecord>): PowerEvent {
  const state = row.state as WorkState;
  return {
    id: row.id,
    boardId: row.board_id,
    action: row.action as PowerAction,
    trigger: row.trigger_kind as PowerTrigger,
    by: row.requested_by,
    reason: row.reason,
    state: isFinal(state) ? (state as 'succeeded' | 'failed' | 'cancelled') : 'pending',
    ...(row.output !== null && { result: (JSON.parse(row.output) as PowerOutput).result }),
    ...(row.error !== null && { error: JSON.parse(row.error) as StoredError }),
    cycles: row.cycles,
    ...(row.off_at !== null && { offAt: row.off_at }),
    ...(row.on_at !== null && { onAt: row.on_at }),
    ...(row.answered_at !== null && { answeredAt: row.answered_at }),
    createdAt: row.created_at,
    ...(row.finished_at !== null && { finishedAt: row.finished_at }),
  };
}
