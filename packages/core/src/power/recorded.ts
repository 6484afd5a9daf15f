import { elapsedSince, sleep, withDeadline } from '../async.ts';
import type { CallOptions, Random } from '../contracts/runtime.ts';
import { isBringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { PowerState } from '../model/power.ts';
import type { Board } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import { powerCycle, switchOutlet } from '../pool/power-sequence.ts';
import type { WorkContext } from '../work/handler.ts';
import { needIntervention } from './intervention.ts';
import { insertPowerEvent } from './records.ts';

/** A board whose power is switched as part of other work on it, and why. */
export interface RecordedPower {
  readonly context: WorkContext<unknown>;
  readonly board: Board;
  /** For the history. */
  readonly by: string;
  /** For the history. */
  readonly reason: string;
}

/** What the power is switched with. */
export interface RecordedPowerServices {
  readonly connectors: Connectors;
  readonly random: Random;
}

/**
 * Waits until no command can be on its way any more that a process before gave the outlet, dead or thought dead: with
 * one of ours in between, a board would be without power in the middle of what was begun anew.
 * @throws `aborted`.
 */
async function outwaitEarlier(
  { clock, claimedAt, takeovers }: WorkContext<unknown>,
  signal: AbortSignal,
): Promise<void> {
  if (takeovers === 0) return;
  const left = limits.powerCallMs - elapsedSince(clock, claimedAt)();
  if (left > 0) await sleep(clock, left, signal);
}

/**
 * Switches a board's power for work that has the board, as an entry of the board's history that is the work's; a
 * person is told when it can't be done.
 * @throws `power-failed`, `lease-lost`, `aborted`.
 */
export async function switchRecorded(
  { connectors, random }: RecordedPowerServices,
  { context, board, by, reason }: RecordedPower,
  wanted: 'on' | 'off',
  { signal = context.signal }: Pick<CallOptions, 'signal'> = {},
): Promise<void> {
  const { clock } = context;
  await outwaitEarlier(context, signal);
  const now = clock.now();
  try {
    await switchOutlet(wanted, {
      board: board.name,
      clock,
      signal,
      open: (call) => connectors.openPower(board.powerControl, call),
      guard: () => context.guard(),
    });
  } catch (error) {
    if (isBringupError(error, 'power-failed')) {
      const { message } = error;
      const needed = { boardId: board.id, cause: 'power-control', message } as const;
      await context.transaction((tx) => needIntervention(tx, needed, { clock, random }));
    }
    throw error;
  }
  await context.transaction(async (tx) => {
    const entry = tx.db.selectFrom('power_events').select('id').where('id', '=', context.id);
    if ((await entry.executeTakeFirst()) === undefined) {
      await insertPowerEvent(tx, context.id, { boardId: board.id, action: 'cycle', trigger: 'request', by, reason });
    }
    await tx.db
      .updateTable('power_events')
      .set((eb) => (wanted === 'off' ? { off_at: now, cycles: eb('cycles', '+', 1) } : { on_at: now }))
      .where('id', '=', context.id)
      .execute();
  });
}

/** Off, the board's delays, on. @throws as {@link switchRecorded}. */
export async function cycleRecorded(
  services: RecordedPowerServices,
  recorded: RecordedPower,
  options: Pick<CallOptions, 'signal'>,
): Promise<void> {
  const { context, board } = recorded;
  const { signal = context.signal } = options;
  await powerCycle(board.powerSequence, { clock: context.clock, signal }, (wanted) =>
    switchRecorded(services, recorded, wanted, { signal }),
  );
}

/**
 * Switches a board on that work which ends early may have left without power. Where that can't be done in time, a
 * person is told, and nothing is allocated to the board.
 * @throws `lease-lost`; `aborted` when the signal aborts: whoever takes the work over does it again.
 */
export async function givePowerBack(
  services: RecordedPowerServices,
  recorded: RecordedPower,
  signal: AbortSignal,
): Promise<void> {
  const { context, board } = recorded;
  const { clock, logger } = context;
  try {
    const bounds = { signal, timeoutMs: limits.powerGiveBackMs };
    await withDeadline(clock, `giving ${board.name} its power back`, bounds, async (inner) => {
      await outwaitEarlier(context, inner);
      // Where it can't be asked it is switched: that is tried again.
      const state = await powerOf(services, board, inner).catch(() => 'unknown');
      if (state !== 'on') await switchRecorded(services, recorded, 'on', { signal: inner });
    });
  } catch (error) {
    if (isBringupError(error, 'lease-lost') || signal.aborted) throw error;
    logger.error({ error, board: board.name }, 'a board may be without power');
    const { code, message, details } = toBringupError(error);
    const needed = {
      boardId: board.id,
      cause: 'power-control',
      message: `${board.name} may be without power: ${message}. Look after the outlet, then switch the board on.`,
      details: { ...details, code },
    } as const;
    await context.transaction((tx) => needIntervention(tx, needed, { clock, random: services.random }));
  }
}

async function powerOf(
  { connectors }: RecordedPowerServices,
  { powerControl }: Board,
  signal: AbortSignal,
): Promise<PowerState> {
  const call = { signal, timeoutMs: limits.powerCallMs };
  await using outlet = await connectors.openPower(powerControl, call);
  return await outlet.state(call);
}
