import type { Selectable } from 'kysely';
import type { Clock, Random } from '../contracts/runtime.ts';
import { fromStoredError, toBringupError, type BringupError, type StoredError } from '../errors.ts';
import { isFinal, type WorkKind, type WorkState } from '../model/work.ts';
import { newId } from '../runtime.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import type { FlowChild, FlowStart, FlowState, FlowStep, WorkFlow } from './flow.ts';
import { addWork, announce, begin, finish, ready } from './queue.ts';
import { takeFamily } from './family.ts';
import { readyItem, stepFlow } from './queue-queries.ts';
import { children, endOf } from './records.ts';
import { beginToFail } from './stops.ts';
import { tellOfFlow } from './watched-run.ts';

/** What flows run on. */
export interface FlowServices {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly telemetry: Telemetry;
  /** Kinds of work that can't be cancelled. */
  readonly uncancellable: () => readonly WorkKind[];
}

type Row = Selectable<WorkRow>;

/**
 * Has parents go on when their children have ended, in the transaction that ends those: a flow is asked what comes
 * next, an item that has stepped aside is put back into the queue.
 */
export class Flows {
  readonly #services: FlowServices;
  readonly #flows = new Map<WorkKind, WorkFlow<unknown, unknown>>();

  constructor(services: FlowServices) {
    this.#services = services;
    services.store.onBeforeCommit('parents', async (tx, ids) => {
      for (const id of ids) await this.#goOn(tx, id);
    });
  }

  register<I, O>(flow: WorkFlow<I, O>): void {
    this.#flows.set(flow.kind, flow as WorkFlow<unknown, unknown>);
  }

  /** Whether work of this kind is a flow. */
  has(kind: WorkKind): boolean {
    return this.#flows.has(kind);
  }

  async #goOn(tx: StoreTransaction, id: string): Promise<void> {
    const family = await takeFamily(tx, id);
    const row = family.find((one) => one.id === id);
    // Whoever runs looks itself, before it steps aside.
    if (row?.state !== 'waiting') return;
    if (row.wake_on === children) {
      await this.#advance(
        tx,
        row,
        family.filter((one) => one !== row),
      );
    } else if (family.some((child) => row.wake_on === endOf(child.id) && isFinal(child.state as WorkState))) {
      await readyItem.send(tx.db, { id });
      ready(tx, row.kind);
    }
  }

  async #advance(tx: StoreTransaction, row: Row, started: readonly Row[]): Promise<void> {
    const flow = this.#flows.get(row.kind as WorkKind);
    if (flow === undefined) throw new TypeError(`nobody has said how a ${row.kind} goes on`);
    const now = this.#services.clock.now();
    const state = stateOf(row, started, now);
    const { step, error } = this.#look(flow, row, state);
    if (error === undefined) {
      if (typeof step === 'object') await this.#take(tx, row, step, now);
      return;
    }
    const uncancellable = this.#services.uncancellable();
    const unfinished =
      row.error === null
        ? await beginToFail(tx, row, error, uncancellable, now)
        : started.find(
            (child) => !isFinal(child.state as WorkState) && !uncancellable.includes(child.kind as WorkKind),
          );
    if (unfinished !== undefined) return;
    const last = flow.afterwards(state);
    if (typeof last === 'object') await this.#start(tx, row, last.start, now);
    if (last !== undefined) return;
    const ended = error.code === 'aborted' ? 'cancelled' : 'failed';
    await finish(tx, row, { state: ended, error: error.toJSON() }, now);
    tellOfFlow(tx, row, { outcome: ended, error }, this.#services);
  }

  #look(
    flow: WorkFlow<unknown, unknown>,
    row: Row,
    state: FlowState<unknown>,
  ): { readonly step?: FlowStep<unknown>; readonly error?: BringupError } {
    const reached = row.error ?? row.stop_reason;
    if (reached !== null) return { error: fromStoredError(JSON.parse(reached) as StoredError) };
    try {
      return { step: flow.next(state) };
    } catch (thrown) {
      return { error: toBringupError(thrown) };
    }
  }

  async #take(tx: StoreTransaction, row: Row, step: Exclude<FlowStep<unknown>, 'wait'>, now: number): Promise<void> {
    if ('start' in step) {
      await this.#start(tx, row, step.start, now);
      return;
    }
    await finish(tx, row, { state: 'succeeded', output: step.output }, now);
    tellOfFlow(tx, row, { outcome: 'succeeded' }, this.#services);
  }

  async #start(tx: StoreTransaction, row: Row, start: FlowStart, now: number): Promise<void> {
    const { clock, random } = this.#services;
    const { key, kind, input, phase, timeoutMs } = start;
    const id = newId(clock, random);
    const place = { parentId: row.id, childKey: key, priority: row.priority };
    const more = { traceparent: row.traceparent ?? undefined, ...(timeoutMs !== undefined && { timeoutMs }) };
    const added = await addWork(tx, { id, kind, input, ...place, ...more }, now);
    // It has started when the first of its children has.
    const starts = added.claim !== undefined && row.started_at === null;
    const stepped = { ...row, phase: phase ?? row.phase, started_at: starts ? now : row.started_at };
    if (starts || phase !== undefined) await stepFlow.send(tx.db, stepped);
    if (phase !== undefined) await announce(tx, stepped, 'phase');
    if (starts) await announce(tx, stepped, 'started');
    await begin(tx, added);
    await start.prepare?.(tx, id);
  }
}

function stateOf(row: Row, started: readonly Row[], now: number): FlowState<unknown> {
  const children = new Map(started.map((child) => [child.child_key ?? '', toFlowChild(child)] as const));
  return { id: row.id, input: JSON.parse(row.input) as unknown, children, now };
}

function toFlowChild({ id, state, error }: Row): FlowChild {
  return { id, state: state as WorkState, ...(error !== null && { error: JSON.parse(error) as StoredError }) };
}
