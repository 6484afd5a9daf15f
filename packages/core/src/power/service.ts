import { withDeadline } from '../async.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import { BringupError, fromStoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import type { PowerAction, PowerEvent, PowerState, PowerStatus } from '../model/power.ts';
import type { Board } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { PowerCycleOptions } from '../pool/services.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import { clearIntervention, interventionOf } from './intervention.ts';
import { checkPermission } from './permission.ts';
import { insertPowerEvent, powerEvents, powerUnderWay, toPowerEvent, type PowerInput } from './records.ts';
import { fullSequence } from '../pool/power-sequence.ts';

/**
 * The power of boards. Each change is durable work: it is carried to its end even if this process
 * dies, and is kept in the board's history. Aborting a call ends the wait for it, not the change.
 */
export class PowerService {
  readonly #options: {
    readonly store: Store;
    readonly work: WorkEngine;
    readonly connectors: Connectors;
    readonly clock: Clock;
    readonly random: Random;
    readonly board: (id: string) => Promise<Board>;
  };

  constructor(options: {
    readonly store: Store;
    readonly work: WorkEngine;
    readonly connectors: Connectors;
    readonly clock: Clock;
    readonly random: Random;
    readonly board: (id: string) => Promise<Board>;
  }) {
    this.#options = options;
  }

  /**
   * Switches a board on and watches it come up. A board whose power is switched by hand: a person is
   * asked, the event's `result` is `asked`.
   * @throws `not-found`, `conflict` while it is flashed or somebody else holds it, `power-failed`,
   * `boot-timeout` when it does not answer in time, `aborted`, `deadline-exceeded`.
   */
  powerOn(boardId: string, options: PowerCycleOptions = {}): Promise<PowerEvent> {
    return this.#change(boardId, 'on', options);
  }

  /**
   * Switches a board off. Nothing is allocated to it, and nobody tries to recover it, until it is
   * switched on again. @throws as {@link PowerService.powerOn}.
   */
  powerOff(boardId: string, options: PowerCycleOptions = {}): Promise<PowerEvent> {
    return this.#change(boardId, 'off', options);
  }

  /**
   * Runs the board's power sequence: off, a delay, on, then watches until it answers.
   * @throws as {@link PowerService.powerOn}.
   */
  powerCycle(boardId: string, options: PowerCycleOptions = {}): Promise<PowerEvent> {
    return this.#change(boardId, 'cycle', options);
  }

  /**
   * How a board's power is configured, whether it has any, and what is being done to it.
   * @throws `not-found`, and those of the outlet: `power-failed`, `connection-failed`, `deadline-exceeded`, `aborted`.
   */
  async getPowerStatus(boardId: string, options: CallOptions = {}): Promise<PowerStatus> {
    const board = await this.#options.board(boardId);
    const { db } = this.#options.store;
    const [state, underWay, intervention] = await Promise.all([
      this.#state(board, options),
      powerUnderWay(db, boardId),
      interventionOf(db, boardId),
    ]);
    return {
      boardId,
      control: board.powerControl,
      sequence: fullSequence(board.powerSequence),
      state,
      ...(underWay !== undefined && { underWay }),
      ...(intervention !== undefined && { intervention: intervention.message }),
    };
  }

  async #state(board: Board, options: CallOptions): Promise<PowerState> {
    if (board.powerControl.method === 'manual') return 'unknown';
    const bounds = { timeoutMs: limits.powerCallMs, ...options };
    return withDeadline(this.#options.clock, `reading the power of ${board.name}`, bounds, async (signal) => {
      await using outlet = await this.#options.connectors.openPower(board.powerControl, { signal });
      return await outlet.state({ signal });
    });
  }

  /** What was done to a board's power, newest first; up to {@link limits.powerHistory} entries are kept. */
  async getPowerHistory(boardId: string, options: HistoryOptions = {}): Promise<readonly PowerEvent[]> {
    const { before } = options;
    const rows = await powerEvents(this.#options.store.db)
      .where('power_events.board_id', '=', boardId)
      .$if(before !== undefined, (query) => query.where('power_events.id', '<', before ?? ''))
      .orderBy('power_events.id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return rows.map(toPowerEvent);
  }

  /** A person has looked after the board: it may be allocated again once it is online. @throws `not-found`. */
  async clearIntervention(boardId: string, options: { readonly by: string; readonly note?: string }): Promise<void> {
    await this.#options.board(boardId);
    const { by, note } = options;
    await this.#options.store.transaction((tx) =>
      clearIntervention(
        tx,
        boardId,
        `looked after by ${by}${note === undefined ? '' : `: ${note}`}`,
        this.#options.clock.now(),
      ),
    );
  }

  async #change(boardId: string, action: PowerAction, options: PowerCycleOptions): Promise<PowerEvent> {
    const { by = 'user', reason = 'on request', holder, force, ...call } = options;
    const { store, work } = this.#options;
    await checkPermission(store, {
      boardId,
      ...(holder !== undefined && { holder }),
      ...(force !== undefined && { force }),
    });
    const input: PowerInput = {
      boardId,
      action,
      trigger: 'request',
      by,
      reason,
      ...(holder !== undefined && { holder }),
      ...(force !== undefined && { force }),
    };
    const id = await work.submit('power', input, { prepare: (tx, workId) => insertPowerEvent(tx, workId, input) });
    const { error } = await work.finished(id, call);
    if (error !== undefined) throw fromStoredError(error);
    const row = await powerEvents(store.db).where('power_events.id', '=', id).executeTakeFirst();
    if (row === undefined) throw new BringupError('not-found', `power event ${id} is gone`, { details: { id } });
    return toPowerEvent(row);
  }
}
