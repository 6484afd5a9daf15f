import type { Clock, Random } from '../contracts/runtime.ts';
import { fromStoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { HangPolicy } from '../model/power.ts';
import { blockedBy } from '../pool/kind.ts';
import type { BoardProfile } from '../pool/kinds/board.ts';
import { changeStatus } from '../pool/status.ts';
import { newId } from '../runtime.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { WorkContext } from '../work/handler.ts';
import { enqueue } from '../work/queue.ts';
import { halfFlashed, manualIntervention, needIntervention, poweredOff } from './intervention.ts';
import { insertPowerEvent, powerUnderWay, type PowerInput, type PowerOutput } from './records.ts';

/**
 * What became of the wish to bring a resource back. `started`: its power is being cycled, its status is
 * `recovery`. `under-way`: something is being done to its power already. `asked`: its power is switched
 * by hand, and a person was asked. `held`: whoever uses it decides. `given-up`: a person has to look
 * after it first, has switched it off, or has to flash it, since half an image boots no better for a power cycle.
 * `impossible`: it has no power control, is being flashed or in maintenance, or is no board.
 */
export type RecoveryStart = 'started' | 'under-way' | 'asked' | 'held' | 'given-up' | 'impossible';

/**
 * Begins to bring back a resource that can't be reached, in the transaction that found it so: a board's
 * power is cycled as durable work, a bounded number of times. It becomes online when it answers,
 * otherwise offline with an alert. Call it as often as the resource is found unreachable: it does not
 * start twice.
 */
export async function startRecovery(
  tx: StoreTransaction,
  resourceId: string,
  reason: string,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<RecoveryStart> {
  const board = await tx.db.selectFrom('resources').selectAll().where('id', '=', resourceId).executeTakeFirst();
  if (board?.kind !== 'board' || board.status === 'flashing' || board.maintenance === 1) return 'impossible';
  const blocked = blockedBy(board);
  if ([manualIntervention, poweredOff, halfFlashed].some((word) => blocked.includes(word))) return 'given-up';
  if ((await powerUnderWay(tx.db, resourceId)) !== undefined) return 'under-way';
  if (board.slots_used > 0) return 'held';
  const { powerControl } = JSON.parse(board.profile) as BoardProfile;
  const now = clock.now();
  if (powerControl.method === 'manual') {
    await needIntervention(
      tx,
      { boardId: resourceId, cause: 'by-hand', ...byHand(board.name, reason) },
      { clock, random },
    );
    return 'asked';
  }
  const id = newId(clock, random);
  const input: PowerInput = {
    boardId: resourceId,
    action: 'cycle',
    trigger: 'recovery',
    by: 'health monitor',
    reason,
    cycles: limits.recoveryCycles,
  };
  await enqueue(tx, { id, kind: 'power', input }, now);
  await insertPowerEvent(tx, id, input);
  await changeStatus(tx, resourceId, { status: 'recovery', reason: `${reason}; its power is being cycled`, now });
  return 'started';
}

/** What a person is asked to do with a board whose power is switched by hand. */
export function byHand(board: string, reason: string): { readonly message: string } {
  return {
    message: `${board}: ${reason}. Its power is switched by hand: switch it off, wait a moment and switch it on again.`,
  };
}

/** A board that hangs while a work item uses it. */
export interface Hang {
  readonly boardId: string;
  /** What it did or did not do, for a person. */
  readonly reason: string;
  readonly policy: HangPolicy;
  /** On whose behalf the board is reserved. */
  readonly holder: string;
  /** Which hang of this work item it is: each is dealt with once. */
  readonly key: string;
}

/**
 * Deals with a board that hangs during a test, from within the work item that uses it: by its policy
 * the power is cycled as a child of that item, which steps aside until the board answers or is given
 * up. Gives how it ended; undefined when the policy leaves the board alone.
 * @throws `boot-timeout` when it does not come back, `power-failed`; the board then needs a person.
 */
export async function recoverHungBoard(context: WorkContext, hang: Hang): Promise<PowerOutput | undefined> {
  if (hang.policy === 'leave') return undefined;
  const input: PowerInput = {
    boardId: hang.boardId,
    action: 'cycle',
    trigger: 'hang',
    by: hang.holder,
    reason: hang.reason,
    holder: hang.holder,
  };
  const item = await context.child<PowerInput, PowerOutput>(hang.key, 'power', input, {
    prepare: (tx, id) => insertPowerEvent(tx, id, input),
  });
  if (item.error !== undefined) throw fromStoredError(item.error);
  return item.output;
}
