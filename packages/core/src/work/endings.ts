import { withDeadline } from '../async.ts';
import type { Clock, Logger } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { WorkKind } from '../model/work.ts';
import { SteppedAside, type WorkHandler } from './handler.ts';
import { finish, handBack, putAside } from './queue.ts';
import { beginToFail } from './stops.ts';
import type { Run } from './run.ts';

type Handler = WorkHandler<unknown, unknown>;

/** What an ending needs to know of its worker. */
export interface EndingBounds {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly uncancellable: readonly WorkKind[];
  /** Aborts when the worker shuts down: what is not in order by then is handed back. */
  readonly ending: AbortSignal;
}

/** Why a run is interrupted when its worker shuts down: the item goes back to the queue. */
export const shuttingDown: BringupError = new BringupError('aborted', 'the lab is shutting down');

/**
 * How a run ended: the item with it, or the run alone. `waiting`: put aside until something happens; `handed_back`:
 * its process ends; `lost`: another process has it, or will have.
 */
export type RunOutcome = 'succeeded' | 'failed' | 'cancelled' | 'waiting' | 'handed_back' | 'lost';

/** How a run ended, and why when it was for an error. */
export interface RunEnd {
  readonly outcome: RunOutcome;
  readonly error?: BringupError;
}

/** Ends a run that did not succeed: put aside, handed back, or failed once everything is in order. */
export async function endUnfinished(
  run: Run<unknown>,
  handler: Handler,
  thrown: unknown,
  bounds: EndingBounds,
): Promise<RunEnd> {
  const { clock, logger } = bounds;
  await run.flushLogs();
  if (thrown instanceof SteppedAside) {
    await run.leave((tx, row) => putAside(tx, row, thrown.wait, clock.now()));
    return { outcome: 'waiting' };
  }
  const error = run.reachedFailure ?? run.failure(thrown);
  if (run.stopReason?.code === 'lease-lost') {
    logger.warn({ work: run.id }, error.message);
    return { outcome: 'lost', error };
  }
  if (error === shuttingDown) {
    await run.leave((tx) => handBack(tx, run));
    return { outcome: 'handed_back' };
  }
  // A database that was away for a moment is no failure of the work: when its lease runs out, it goes on from its checkpoint.
  if (run.reachedFailure === undefined && isPassing(error)) throw error;
  if (!(await hasBegunToFail(run, error, bounds))) return { outcome: 'waiting' };
  if (!(await isCleanedUp(run, handler, error, bounds))) {
    return { outcome: bounds.ending.aborted ? 'handed_back' : 'waiting' };
  }
  const state = error.code === 'aborted' ? 'cancelled' : 'failed';
  await run.end((tx, row) => finish(tx, row, { state, error: error.toJSON() }, clock.now()));
  return { outcome: state, error };
}

/** Whether the lab's database could not be used, and may soon be again. */
function isPassing(error: BringupError): boolean {
  const reasons: unknown[] = ['connection', 'locked', 'overloaded', 'conflict'];
  return error.code === 'store-failed' && error.retryable && reasons.includes(error.details['reason']);
}

/**
 * Stores that the item can only fail from here on, whoever takes it over, and stops what it
 * started. False when the item has to wait for that first.
 */
async function hasBegunToFail(run: Run<unknown>, error: BringupError, bounds: EndingBounds): Promise<boolean> {
  const now = bounds.clock.now();
  return run.fenced(async (tx, row) => {
    const childId = await beginToFail(tx, row, error, bounds.uncancellable, now);
    if (childId === undefined) return true;
    await putAside(tx, row, { childId }, now);
    run.leaveWith(tx);
    return false;
  });
}

/** False when the item was put aside or handed back with its clean-up still to do. */
async function isCleanedUp(
  run: Run<unknown>,
  handler: Handler,
  error: BringupError,
  bounds: EndingBounds,
): Promise<boolean> {
  const { clock, logger, ending } = bounds;
  // Even cleaning up kills whoever does it: leave it to the leases of what the item holds.
  if (run.takeovers > 2 * limits.workMaxTakeovers) return true;
  try {
    const call = { timeoutMs: limits.workCleanUpMs, signal: ending };
    await withDeadline(clock, `cleaning up after ${run.id}`, call, async (signal) =>
      handler.cleanUp?.(run, run.input, error, signal),
    );
  } catch (thrown) {
    if (thrown instanceof SteppedAside) {
      await run.leave((tx, row) => putAside(tx, row, thrown.wait, clock.now()));
      return false;
    }
    if (ending.aborted) {
      await run.leave((tx) => handBack(tx, run));
      return false;
    }
    // What could not even be written down is tried again, by whoever takes the item over.
    if (isBringupError(thrown, 'store-failed')) throw thrown;
    logger.error({ error: thrown, work: run.id }, 'cleaning up failed');
  }
  await run.flushLogs();
  return true;
}
