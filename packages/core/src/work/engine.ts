import { onAbort, withDeadline } from '../async.ts';
import { Cleanup } from '../cleanup.ts';
import type { CallOptions, Clock, Logger, Random } from '../contracts/runtime.ts';
import { BringupError, fromStoredError, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isFinal, type WorkItem, type WorkKind } from '../model/work.ts';
import { newId } from '../runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { SteppedAside, type WorkHandler } from './handler.ts';
import { LogStore } from './logs.ts';
import { formatOwner, isKnownDead, thisProcess } from './owner.ts';
import { claim, enqueue, finish, handBack, overdueItems, putAside, requestStop, requeueDue, stopChildren, stopOverdue, type NewWork } from './queue.ts';
import { toWorkItem } from './records.ts';
import { Run } from './run.ts';

/** What the engine is made of. */
export interface WorkEngineOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
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
 * Runs durable work. Items are claimed under a lease, which heartbeats renew; each claim has a
 * fence that only grows, and every write of a run checks it. When a process dies, its items are
 * claimed by another, or by the same program started again, and go on from their checkpoint.
 */
export class WorkEngine implements AsyncDisposable {
  readonly logs: LogStore;
  readonly #options: WorkEngineOptions;
  readonly #identity = thisProcess();
  readonly #owner: string;
  readonly #handlers = new Map<WorkKind, WorkHandler<unknown, unknown>>();
  readonly #running = new Map<string, { readonly run: Run<unknown>; readonly done: Promise<void> }>();
  readonly #resources = new Cleanup();
  readonly #ending = new AbortController();
  #state: 'idle' | 'started' | 'stopping' = 'idle';
  #pumping: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #pumpAgain = false;
  #renewedAt = 0;

  constructor(options: WorkEngineOptions) {
    this.#options = options;
    this.#owner = formatOwner(this.#identity, newId(options.clock, options.random));
    this.logs = new LogStore(options.store, options.clock);
  }

  /** Says who does one kind of work. Before {@link WorkEngine.start}. */
  register<I, O, C>(handler: WorkHandler<I, O, C>): void {
    this.#handlers.set(handler.kind, handler as WorkHandler<unknown, unknown>);
  }

  /** Begins to claim and run work. */
  start(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'started';
    this.#renewedAt = this.#options.clock.now();
    this.#resources.use(this.#options.store.onCommit('work', () => this.#pump()));
    this.#every(limits.workPollMs, () => this.#pump());
    this.#every(limits.heartbeatMs, () => void this.#heartbeat());
    this.#pump();
  }

  #every(periodMs: number, act: () => void): void {
    const { clock } = this.#options;
    let timer: Disposable | undefined;
    const next = (): void => {
      timer = clock.timer(
        periodMs,
        () => {
          act();
          next();
        },
        { background: true },
      );
    };
    next();
    this.#resources.defer(() => timer?.[Symbol.dispose]());
  }

  /** Queues an item and gives its id. */
  async submit(kind: WorkKind, input: unknown, options: SubmitOptions = {}): Promise<string> {
    const { store, clock, random } = this.#options;
    const id = newId(clock, random);
    const work: NewWork = {
      id,
      kind,
      input,
      ...(options.priority !== undefined && { priority: options.priority }),
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    };
    await store.transaction(async (tx) => {
      await enqueue(tx, work, clock.now());
      await options.prepare?.(tx, id);
    });
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
    if (row === undefined) throw new BringupError('not-found', `there is no work item ${id}`, { details: { id } });
    return toWorkItem<I, O>(row);
  }

  /** Waits until an item is final and gives it. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async finished<I = unknown, O = unknown>(id: string, options: CallOptions = {}): Promise<WorkItem<I, O>> {
    const { clock } = this.#options;
    return withDeadline(clock, `waiting for ${id}`, options, async (signal) => {
      for (;;) {
        using change = this.nextChange(signal);
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
    const { store, clock } = this.#options;
    const { promise: happened, resolve } = Promise.withResolvers<void>();
    const parts = [store.onCommit('work', resolve), clock.timer(limits.workPollMs, resolve), onAbort(signal, resolve)];
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
      requestStop(tx, id, this.#uncancellable(), error, this.#options.clock.now()),
    );
  }

  #uncancellable(): WorkKind[] {
    return [...this.#handlers.values()].filter((h) => h.uncancellable === true).map((h) => h.kind);
  }

  #pump(): void {
    if (this.#state !== 'started') return;
    if (this.#pumping !== undefined) {
      this.#pumpAgain = true;
      return;
    }
    this.#pumping = (async () => {
      do {
        this.#pumpAgain = false;
        try {
          await this.#claimAndRun();
        } catch (error) {
          this.#options.logger.error({ error }, 'looking for work failed; trying again at the next poll');
        }
      } while (this.#pumpAgain && this.#state === 'started');
      this.#pumping = undefined;
    })();
  }

  async #claimAndRun(): Promise<void> {
    const { store, clock } = this.#options;
    await this.#tellStopped();
    const free = limits.workConcurrency - this.#running.size;
    if (!(await this.#anythingDue(free))) return;
    const dead = await this.#deadOwners();
    const rows = await store.transaction(async (tx) => {
      await stopOverdue(tx, this.#uncancellable(), clock.now());
      await requeueDue(tx, clock.now(), dead);
      return free <= 0 ? [] : claim(tx, [...this.#handlers.keys()], this.#owner, free, clock.now());
    });
    for (const row of rows) {
      const run = new Run<unknown>({ ...this.#options, logs: this.logs }, row, this.#owner);
      if (run.askedToStop !== undefined) run.stop(run.askedToStop);
      // This process was held up for so long that its own lease ran out.
      this.#running.get(row.id)?.run.stop(lostLease(run, 'ran out and was granted anew'));
      this.#running.set(row.id, { run, done: this.#execute(run) });
    }
    if (rows.length === free && free > 0) this.#pumpAgain = true;
  }

  /** A read first: an idle process must not take the write lock twice a second. */
  async #anythingDue(free: number): Promise<boolean> {
    const now = this.#options.clock.now();
    const { db } = this.#options.store;
    const due = await db
      .selectFrom('work_items')
      .select('id')
      .where((eb) =>
        eb.or([
          ...(free > 0 ? [eb.and([eb('state', '=', 'queued'), eb('kind', 'in', [...this.#handlers.keys()])])] : []),
          eb.and([eb('state', '=', 'waiting'), eb('run_after', '<=', now)]),
          eb.and([eb('state', '=', 'running'), eb('lease_until', '<=', now)]),
        ]),
      )
      .limit(1)
      .executeTakeFirst();
    if (due !== undefined || (await overdueItems(db, now).select('id').limit(1).executeTakeFirst()) !== undefined) {
      return true;
    }
    return (await this.#deadOwners()).length > 0;
  }

  async #deadOwners(): Promise<string[]> {
    const rows = await this.#options.store.db
      .selectFrom('work_items')
      .select('owner')
      .distinct()
      .where('state', '=', 'running')
      .execute();
    return rows.flatMap(({ owner }) => (owner !== null && isKnownDead(owner, this.#identity) ? [owner] : []));
  }

  /** Tells what runs here that it has been asked to stop. */
  async #tellStopped(): Promise<void> {
    if (this.#running.size === 0) return;
    const rows = await this.#options.store.db
      .selectFrom('work_items')
      .select(['id', 'stop_reason'])
      .where('id', 'in', [...this.#running.keys()])
      .where('stop_reason', 'is not', null)
      .execute();
    for (const { id, stop_reason } of rows) {
      this.#running.get(id)?.run.stop(fromStoredError(JSON.parse(stop_reason ?? '{}') as StoredError));
    }
  }

  async #heartbeat(): Promise<void> {
    const { store, clock, logger } = this.#options;
    if (this.#running.size === 0) {
      this.#renewedAt = clock.now();
      return;
    }
    const renewed = new Set<string>();
    try {
      const runs = [...this.#running.values()].map(({ run }) => run);
      const rows = await store.transaction(async ({ db }) =>
        db
          .updateTable('work_items')
          .set({ lease_until: clock.now() + limits.leaseMs })
          .where('state', '=', 'running')
          .where('owner', '=', this.#owner)
          .where(
            'id',
            'in',
            runs.map((run) => run.id),
          )
          .returning(['id', 'fence'])
          .execute(),
      );
      for (const row of rows) renewed.add(`${row.id}#${row.fence}`);
      for (const run of runs) {
        if (this.#running.get(run.id)?.run !== run || renewed.has(`${run.id}#${run.fence}`)) continue;
        run.stop(lostLease(run, 'was taken over by another process'));
      }
      this.#renewedAt = clock.now();
    } catch (error) {
      logger.warn({ error }, 'leases could not be renewed');
      // Others may take the work over once the leases have run out: be out of it before.
      if (clock.now() - this.#renewedAt < limits.leaseMs - limits.heartbeatMs) return;
      for (const { run } of this.#running.values()) {
        run.stop(lostLease(run, 'could not be renewed in time'));
      }
    }
  }

  async #execute(run: Run<unknown>): Promise<void> {
    const { clock, logger } = this.#options;
    const handler = this.#handlers.get(run.kind);
    if (handler === undefined) return;
    // A deadline is dealt with where claims are made; this only sees to it that it is on time.
    using _deadline =
      run.deadlineAt === undefined || run.stopReason !== undefined
        ? undefined
        : clock.timer(Math.max(0, run.deadlineAt - clock.now()), () => this.#pump());
    try {
      if (run.takeovers > limits.workMaxTakeovers) {
        throw new BringupError(
          'process-lost',
          `${run.kind} ${run.id} was given up: ${run.takeovers} processes died while they worked on it`,
        );
      }
      if (run.reachedFailure !== undefined) throw run.reachedFailure;
      // What was asked to stop before it could go on is only put back in order.
      if (run.stopReason !== undefined) throw run.stopReason;
      const result = await handler.run(run, run.input);
      await run.flushLogs();
      await run.fenced(async (tx) => {
        await result.commit?.(tx);
        await finish(tx, run.id, { state: 'succeeded', output: result.output }, clock.now());
      });
    } catch (thrown) {
      await this.#unfinished(run, handler, thrown).catch((error: unknown) => {
        // The lease runs out, and the item is taken up again from its checkpoint.
        logger.error({ error, work: run.id }, 'the end of a work item could not be stored');
      });
    } finally {
      if (this.#running.get(run.id)?.run === run) this.#running.delete(run.id);
      this.#pump();
    }
  }

  async #unfinished(run: Run<unknown>, handler: WorkHandler<unknown, unknown>, thrown: unknown): Promise<void> {
    const { clock, logger } = this.#options;
    await run.flushLogs();
    if (thrown instanceof SteppedAside) {
      await run.fenced((tx, row) => putAside(tx, row, thrown.wait, clock.now()));
      return;
    }
    const error = run.reachedFailure ?? run.failure(thrown);
    if (run.stopReason?.code === 'lease-lost') {
      logger.warn({ work: run.id }, error.message);
      return;
    }
    if (error === shuttingDown) {
      await run.fenced((tx) => handBack(tx, run.id));
      return;
    }
    if (!(await this.#begunToFail(run, error))) return;
    if (!(await this.#cleanedUp(run, handler, error))) return;
    const state = error.code === 'aborted' ? 'cancelled' : 'failed';
    await run.fenced((tx) => finish(tx, run.id, { state, error: error.toJSON() }, clock.now()));
  }

  /**
   * Stores that the item can only fail from here on, whoever takes it over, and stops what it
   * started. False when the item has to wait for that first.
   */
  async #begunToFail(run: Run<unknown>, error: BringupError): Promise<boolean> {
    const now = this.#options.clock.now();
    return run.fenced(async (tx, row) => {
      await tx.db
        .updateTable('work_items')
        .set({ error: JSON.stringify(error.toJSON()) })
        .where('id', '=', run.id)
        .execute();
      const reason = new BringupError('aborted', `${run.kind} ${run.id}, which it was part of, has ended: ${error.message}`);
      const childId = await stopChildren(tx, run.id, this.#uncancellable(), reason.toJSON(), now);
      if (childId !== undefined) await putAside(tx, row, { childId }, now);
      return childId === undefined;
    });
  }

  /** False when the item was put aside or handed back with its clean-up still to do. */
  async #cleanedUp(run: Run<unknown>, handler: WorkHandler<unknown, unknown>, error: BringupError): Promise<boolean> {
    const { clock, logger } = this.#options;
    // Even cleaning up kills whoever does it: leave it to the leases of what the item holds.
    if (run.takeovers > 2 * limits.workMaxTakeovers) return true;
    try {
      const bounds = { timeoutMs: limits.workCleanUpMs, signal: this.#ending.signal };
      await withDeadline(clock, `cleaning up after ${run.id}`, bounds, async (signal) =>
        handler.cleanUp?.(run, run.input, error, signal),
      );
    } catch (thrown) {
      if (thrown instanceof SteppedAside) {
        await run.fenced((tx, row) => putAside(tx, row, thrown.wait, clock.now()));
        return false;
      }
      if (this.#ending.signal.aborted) {
        await run.fenced((tx) => handBack(tx, run.id));
        return false;
      }
      logger.error({ error: thrown, work: run.id }, 'cleaning up failed');
    }
    await run.flushLogs();
    return true;
  }

  /**
   * Stops claiming, interrupts what runs and hands it back to the queue, where this or another
   * process finds it. Nothing is cancelled by it.
   */
  [Symbol.asyncDispose](): Promise<void> {
    this.#stopping ??= this.#shutDown();
    return this.#stopping;
  }

  async #shutDown(): Promise<void> {
    this.#state = 'stopping';
    await this.#resources[Symbol.asyncDispose]();
    await this.#pumping;
    const running = [...this.#running.values()];
    for (const { run } of running) run.stop(shuttingDown);
    this.#ending.abort(shuttingDown);
    await Promise.all(running.map(({ done }) => done));
  }
}

const shuttingDown = new BringupError('aborted', 'the lab is shutting down');

function lostLease(run: Run<unknown>, how: string): BringupError {
  return new BringupError('lease-lost', `the lease of ${run.kind} ${run.id} ${how}`);
}
