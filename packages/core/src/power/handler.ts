import { elapsedSince, sleep } from '../async.ts';
import type { Random } from '../contracts/runtime.ts';
import { isBringupError, type BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { PowerResult } from '../model/power.ts';
import type { Board } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import { changeStatus, type StoredStatus } from '../pool/status.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { WorkContext, WorkHandler, WorkResult } from '../work/handler.ts';
import { wake } from '../work/queue.ts';
import { askBoard, canBeAsked } from './answers.ts';
import { explain, neverOff, reasonOf, silent } from './failures.ts';
import { clearIntervention, needIntervention, poweredOff } from './intervention.ts';
import { checkPermission } from './permission.ts';
import { givePowerBack } from './recorded.ts';
import { byHand } from './recovery.ts';
import { powerTopic, powerUnderWay, type PowerInput, type PowerOutput } from './records.ts';
import { fullSequence, switchOutlet } from '../pool/power-sequence.ts';

/** What changes of power work with. */
export interface PowerServices {
  readonly connectors: Connectors;
  readonly random: Random;
  /** @throws `not-found`. */
  readonly board: (id: string) => Promise<Board>;
  /** Lets go of the board's console where it is kept open for whoever goes on with it. */
  readonly freeConsole: (boardId: string) => Promise<void>;
}

interface Checkpoint {
  /** The status it goes back to when nothing was done to it. */
  readonly was: StoredStatus;
  /** The boot that must not be the one that answers afterwards. */
  readonly bootId?: string;
  /** Power cycles that were begun. */
  readonly cycle: number;
  /** `off` and `on`: the outlet was last switched so, and read back. */
  readonly reached: 'start' | 'off' | 'on';
  /** What the outlet was last told, whether or not it is known to have done it. */
  readonly told?: 'off' | 'on';
  readonly offAt?: number;
  readonly onAt?: number;
  /** A command to the outlet may be under way until then, whoever gave it. */
  readonly callUntil?: number;
}

type Context = WorkContext<Checkpoint>;

/**
 * Changes the power of one board: off, a delay, on, then watches it come back. One change of a board
 * at a time. Right before each command to the outlet, in one transaction, it is made sure that this
 * run still owns the work and that the board is still its to switch.
 */
export class PowerHandler implements WorkHandler<PowerInput, PowerOutput, Checkpoint> {
  readonly kind = 'power';
  readonly #services: PowerServices;

  constructor(services: PowerServices) {
    this.#services = services;
  }

  async run(context: Context, input: PowerInput): Promise<WorkResult<PowerOutput>> {
    await this.#takeTurn(context, input);
    const board = await this.#services.board(input.boardId);
    await this.#begin(context, input, board);
    if (board.powerControl.method === 'manual') return this.#askPerson(context, input, board);
    await this.#waitOutStale(context, context.signal);
    const result = await this.#change(context, input, board);
    return { output: { result }, commit: (tx) => this.#settle(tx, context, input, result) };
  }

  async #takeTurn(context: Context, { boardId }: PowerInput): Promise<void> {
    const topic = powerTopic(boardId);
    const first = await context.transaction(async (tx) => {
      await context.expectIn(tx, topic);
      return powerUnderWay(tx.db, boardId);
    });
    if (first !== undefined && first.id !== context.id) {
      context.stepAside({ wakeOn: topic, atLatestMs: limits.powerTurnMs });
    }
  }

  /** What is reached is kept: a run that takes over goes on from there. */
  async #begin(context: Context, input: PowerInput, board: Board): Promise<void> {
    if (context.checkpoint !== undefined) return;
    await context.transaction(async (tx) => {
      const { status } = await checkPermission(tx, input);
      await context.saveIn(tx, { was: status, cycle: 0, reached: 'start' });
    });
    if (input.action !== 'cycle' || input.trigger !== 'request' || board.hostname === undefined) return;
    const { clock, signal } = context;
    const answer = await askBoard(this.#services.connectors, board, { clock, signal });
    if (answer?.bootId !== undefined) await this.#save(context, { bootId: answer.bootId });
  }

  async #waitOutStale({ checkpoint, clock }: Context, signal: AbortSignal): Promise<void> {
    const left = (checkpoint?.callUntil ?? 0) - clock.now();
    // Written by another clock, perhaps: no command takes longer than this.
    if (left > 0) await sleep(clock, Math.min(left, 3 * limits.powerCallMs), signal);
  }

  async #change(context: Context, input: PowerInput, board: Board): Promise<PowerResult> {
    const { action } = input;
    if (action === 'off') {
      await this.#switch(context, input, board, 'off');
      return 'switched';
    }
    for (;;) {
      if (action === 'cycle') await this.#interrupt(context, input, board);
      if (context.checkpoint?.reached !== 'on') await this.#switch(context, input, board, 'on');
      if (!canBeAsked(board)) return 'switched';
      if (await this.#comesBack(context, board)) return 'answered';
      const cycles = context.checkpoint?.cycle ?? 0;
      if (action === 'on' || cycles >= (input.cycles ?? 1)) throw silent(board, action, cycles);
      await this.#save(context, { reached: 'start' });
    }
  }

  /** Cuts the power and waits until it may be given again. */
  async #interrupt(context: Context, input: PowerInput, board: Board): Promise<void> {
    const { clock, signal } = context;
    const { beforeOffMs, offMs } = fullSequence(board.powerSequence);
    if (context.checkpoint?.reached === 'start') {
      await context.phase('off');
      await sleep(clock, beforeOffMs, signal);
      await this.#switch(context, input, board, 'off');
    }
    if (context.checkpoint?.reached !== 'off') return;
    const left = (context.checkpoint.offAt ?? 0) + offMs - clock.now();
    await sleep(clock, Math.min(offMs, Math.max(0, left)), signal);
  }

  async #switch(context: Context, input: PowerInput, board: Board, wanted: 'on' | 'off'): Promise<void> {
    const { clock, signal } = context;
    await switchOutlet(wanted, {
      board: board.name,
      clock,
      signal,
      open: (call) => this.#services.connectors.openPower(board.powerControl, call),
      guard: () =>
        context.transaction(async (tx) => {
          await checkPermission(tx, input);
          await this.#saveIn(context, tx, { told: wanted, callUntil: clock.now() + 3 * limits.powerCallMs });
          await changeStatus(tx, input.boardId, { status: 'recovery', reason: reasonOf(input), now: clock.now() });
        }),
    });
    const now = clock.now();
    await context.transaction(async (tx) => {
      const cycle = (context.checkpoint?.cycle ?? 0) + (wanted === 'off' ? 1 : 0);
      const times = wanted === 'off' ? { offAt: now } : { onAt: now };
      await this.#saveIn(context, tx, { reached: wanted, cycle, callUntil: now, ...times });
      await tx.db
        .updateTable('power_events')
        .set({ cycles: cycle, ...(wanted === 'off' ? { off_at: now } : { on_at: now }) })
        .where('id', '=', context.id)
        .execute();
    });
  }

  /** Watches until the board answers. @throws `power-failed` when it never was without power. */
  async #comesBack(context: Context, board: Board): Promise<boolean> {
    const { clock, signal } = context;
    const { afterOnMs, recoveryMs } = fullSequence(board.powerSequence);
    await context.phase('watching');
    const elapsed = elapsedSince(clock, context.checkpoint?.onAt ?? clock.now());
    await sleep(clock, Math.max(0, afterOnMs - elapsed()), signal);
    // What it said before it lost its power is nobody's to go on from.
    await this.#services.freeConsole(board.id);
    while (elapsed() <= afterOnMs + recoveryMs) {
      const answer = await askBoard(this.#services.connectors, board, { clock, signal });
      if (answer?.bootId !== undefined && answer.bootId === context.checkpoint?.bootId) throw neverOff(board);
      if (answer !== undefined) {
        await context.transaction(async ({ db }) => {
          await db.updateTable('power_events').set({ answered_at: clock.now() }).where('id', '=', context.id).execute();
        });
        return true;
      }
      await sleep(clock, limits.boardAnswerPollMs, signal);
    }
    return false;
  }

  async #askPerson(context: Context, input: PowerInput, board: Board): Promise<WorkResult<PowerOutput>> {
    const { clock } = context;
    const { message } = byHand(board.name, input.reason);
    return {
      output: { result: 'asked' },
      commit: async (tx) => {
        const asked = { boardId: board.id, cause: 'by-hand', message } as const;
        await needIntervention(tx, asked, { clock, random: this.#services.random });
        await wake(tx, powerTopic(board.id));
      },
    };
  }

  /** The board is what it was made to be. */
  async #settle(tx: StoreTransaction, { clock }: Context, input: PowerInput, result: PowerResult): Promise<void> {
    const now = clock.now();
    const { boardId, action } = input;
    if (action === 'off') {
      await changeStatus(tx, boardId, { status: 'offline', reason: reasonOf(input), block: [poweredOff], now });
    } else {
      const reason = result === 'answered' ? 'it answers again' : 'its power is on';
      await clearIntervention(tx, boardId, reason, now);
      await changeStatus(tx, boardId, { status: 'online', reason, unblock: [poweredOff], now });
    }
    await wake(tx, powerTopic(boardId));
  }

  async cleanUp(context: Context, input: PowerInput, error: BringupError, signal: AbortSignal): Promise<void> {
    const { checkpoint, clock } = context;
    const { boardId, action, trigger } = input;
    // A board is not left without power because somebody lost interest, or because it did not help.
    if (action !== 'off' && mayBeOff(checkpoint)) await this.#giveBack(context, input, signal);
    const touched = checkpoint?.callUntil !== undefined || trigger === 'recovery';
    await context.transaction(async (tx) => {
      if (touched) await this.#endRecovery(tx, context, boardId, error);
      const cause = isBringupError(error, 'power-failed') ? 'power-control' : 'no-answer';
      if (isBringupError(error, 'power-failed', 'boot-timeout')) {
        const { message, details } = explain(error, cause);
        await needIntervention(tx, { boardId, cause, message, details }, { clock, random: this.#services.random });
      }
      await wake(tx, powerTopic(boardId));
    });
  }

  /** Back to what it was, if its power was not cut, and it was anything. */
  async #endRecovery(tx: StoreTransaction, context: Context, boardId: string, error: BringupError): Promise<void> {
    const row = await tx.db.selectFrom('resources').select('status').where('id', '=', boardId).executeTakeFirst();
    if (row?.status !== 'recovery') return;
    const { was = 'offline', cycle = 0, told } = context.checkpoint ?? {};
    const status = cycle > 0 || told === 'off' || was === 'recovery' ? 'offline' : was;
    await changeStatus(tx, boardId, { status, reason: error.message, now: context.clock.now() });
  }

  async #giveBack(context: Context, { boardId, by, reason }: PowerInput, signal: AbortSignal): Promise<void> {
    // A command of a process that died must not come after ours.
    await this.#waitOutStale(context, signal);
    const board = await this.#services.board(boardId);
    await givePowerBack(this.#services, { context, board, by, reason }, signal);
  }

  #save(context: Context, change: Partial<Checkpoint>): Promise<void> {
    return context.transaction((tx) => this.#saveIn(context, tx, change));
  }

  #saveIn(context: Context, tx: StoreTransaction, change: Partial<Checkpoint>): Promise<void> {
    const before = context.checkpoint ?? { was: 'unknown', cycle: 0, reached: 'start' };
    return context.saveIn(tx, { ...before, ...change });
  }
}

/** Whether the outlet may be off: it was told so, or was so when it was told to switch on again. */
function mayBeOff(checkpoint: Checkpoint | undefined): boolean {
  return checkpoint?.reached === 'off' || checkpoint?.told === 'off';
}
