import { onAbort, withDeadline } from '../async.ts';
import type { CallOptions, Clock, Logger, Random } from '../contracts/runtime.ts';
import { BringupError, notFound, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isFinal, type WorkItem, type WorkKind } from '../model/work.ts';
import { newId } from '../runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { Topic } from '../store/topics.ts';
import { Telemetry } from '../telemetry/telemetry.ts';
import type { WorkHandler } from './handler.ts';
import { LogStore } from './logs.ts';
import type { WorkFlow } from './flow.ts';
import { Flows } from './flows.ts';
import { addFlow, enqueue, refuseTooMuch, type NewWork } from './queue.ts';
import { endOf, toWorkItem } from './records.ts';
import { requestStop } from './stops.ts';
import { Worker } from './worker.ts';

/** What the engine is made of. */
export interface WorkEngineOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Default: nobody is told. */
  readonly telemetry?: Telemetry;
}

/** Options of {@link WorkEngine.submit}. */
export interface SubmitOptions {
  readonly priority?: number;
  /** Ends the item with `deadline-exceeded`; milliseconds from now. */
  readonly timeoutMs?: number;
  /** Records written in the same transaction as the item. */
  readonly prepare?: (tx: StoreTransaction, id: string) => Promise<void>;
}

/**
 * Durable work: queued, looked at, waited for and cancelled by any process, done by those that were
 * started to do it.
 */
export class WorkEngine implements AsyncDisposable {
  readonly logs: LogStore;
  readonly #options: WorkEngineOptions;
  readonly #telemetry: Telemetry;
  readonly #worker: Worker;
  readonly #flows: Flows;

  constructor(options: WorkEngineOptions) {
    this.#options = options;
    const { store, clock, random, telemetry = new Telemetry() } = options;
    this.#telemetry = telemetry;
    this.logs = new LogStore(store, clock, telemetry);
    const worker = new Worker({ ...options, telemetry, logs: this.logs });
    this.#worker = worker;
    this.#flows = new Flows({ store, clock, random, telemetry, uncancellable: () => worker.uncancellable });
  }

  /** Says who does one kind of work. Before {@link WorkEngine.start}. */
  register<I, O, C>(handler: WorkHandler<I, O, C>): void {
    this.#worker.register(handler);
  }

  /** Says how one kind of work goes from child to child: in every process alike, before the store is used. */
  registerFlow<I, O>(flow: WorkFlow<I, O>): void {
    this.#flows.register(flow);
  }

  /** Begins to claim and run work of these kinds, besides those it was started with before. */
  start(kinds: readonly WorkKind[]): void {
    this.#worker.start(kinds);
  }

  /** As {@link Worker.standing}. */
  get standing(): Worker['standing'] {
    return this.#worker.standing;
  }

  /** Queues an item and gives its id. @throws `unavailable` while `limits.workUnfinishedMax` are unfinished. */
  async submit(kind: WorkKind, input: unknown, options: SubmitOptions = {}): Promise<string> {
    const { store, clock, random } = this.#options;
    const id = newId(clock, random);
    const attributes = { 'bringup.work.kind': kind, 'bringup.work.id': id };
    const span = this.#telemetry.begin({ name: `submit ${kind}`, role: 'producer', at: clock.now(), attributes });
    const work: NewWork = {
      id,
      kind,
      input,
      traceparent: span.traceparent,
      ...(options.priority !== undefined && { priority: options.priority }),
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    };
    try {
      await store.transaction(async (tx) => {
        tx.commitsIf(refuseTooMuch(tx));
        await (this.#flows.has(kind) ? addFlow : enqueue)(tx, work, clock.now());
        await options.prepare?.(tx, id);
      });
    } catch (error) {
      span.end(clock.now(), {}, toBringupError(error).code);
      throw error;
    }
    span.end(clock.now(), {});
    return id;
  }

  /** Queues an item under a parent and a key, unless it was queued before. */
  async submitOnce(
    kind: WorkKind,
    input: unknown,
    place: { readonly parentId: string; readonly key: string },
  ): Promise<void> {
    const { store, clock, random } = this.#options;
    await store.transaction(async (tx) => {
      const existing = await tx.db
        .selectFrom('work_items')
        .select('id')
        .where('parent_id', '=', place.parentId)
        .where('child_key', '=', place.key)
        .executeTakeFirst();
      if (existing !== undefined) return;
      const id = newId(clock, random);
      await enqueue(tx, { id, kind, input, parentId: place.parentId, childKey: place.key }, clock.now());
    });
  }

  /** An item. @throws `not-found`. */
  async get<I = unknown, O = unknown>(id: string): Promise<WorkItem<I, O>> {
    const row = await this.#options.store.db
      .selectFrom('work_items')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
    if (row === undefined) throw notFound('work item', id);
    return toWorkItem<I, O>(row);
  }

  /** Waits until an item is final and gives it. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async finished<I = unknown, O = unknown>(id: string, options: CallOptions = {}): Promise<WorkItem<I, O>> {
    const { clock } = this.#options;
    return withDeadline(clock, `waiting for ${id}`, options, async (signal) => {
      for (;;) {
        using change = this.#next(endOf(id), signal);
        const item = await this.get<I, O>(id);
        if (isFinal(item.state) || signal.aborted) return item;
        await change.happened;
      }
    });
  }

  /**
   * Resolves when work may have changed: at a commit of this process, after `limits.workPollMs`
   * (another process may have done it), or on abort. Ask first, then look, then wait: so nothing is missed.
   */
  nextChange(signal?: AbortSignal): Disposable & { readonly happened: Promise<void> } {
    return this.#next('work', signal);
  }

  #next(topic: Topic, signal?: AbortSignal): Disposable & { readonly happened: Promise<void> } {
    const { store, clock } = this.#options;
    const { promise: happened, resolve } = Promise.withResolvers<void>();
    const parts = [store.onCommit(topic, resolve), clock.timer(limits.workPollMs, resolve), onAbort(signal, resolve)];
    return {
      happened,
      [Symbol.dispose]: () => {
        for (const part of parts) part[Symbol.dispose]();
      },
    };
  }

  /** What an item started, by key. */
  async children(id: string): Promise<readonly { readonly childKey: string; readonly item: WorkItem }[]> {
    const rows = await this.#options.store.db
      .selectFrom('work_items')
      .selectAll()
      .where('parent_id', '=', id)
      .orderBy('id')
      .execute();
    return rows.map((row) => ({ childKey: row.child_key ?? '', item: toWorkItem(row) }));
  }

  /** Asks an item and its children to stop. One that is final already stays as it is. @throws `not-found`. */
  async cancel(id: string, reason = 'cancelled on request'): Promise<void> {
    await this.get(id);
    const error = new BringupError('aborted', reason).toJSON();
    await this.#options.store.transaction((tx) =>
      requestStop(tx, id, this.#worker.uncancellable, error, this.#options.clock.now()),
    );
  }

  /**
   * Stops claiming, interrupts what runs and hands it back to the queue, where this or another
   * process finds it. Nothing is cancelled by it.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#worker[Symbol.asyncDispose]();
  }
}
