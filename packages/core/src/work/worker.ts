import type { Clock, Logger, Random } from '../contracts/runtime.ts';
import { Cleanup } from '../cleanup.ts';
import { BringupError, fromStoredError, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { WorkKind } from '../model/work.ts';
import { newId } from '../runtime.ts';
import type { Store } from '../store/store.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { endUnfinished, shuttingDown, type RunEnd } from './endings.ts';
import { FarTimes } from './far-times.ts';
import { endFarWork } from './far-work.ts';
import type { WorkHandler } from './handler.ts';
import type { LogStore } from './logs.ts';
import { formatOwner, isKnownDead, thisProcess } from './owner.ts';
import { dueItem, overdueItem, runningOwners, stoppedOf } from './queue-queries.ts';
import { claim, finish, requeueDue, stopOverdue } from './queue.ts';
import { Run } from './run.ts';
import { unstored, watchedRun } from './watched-run.ts';

/** What a worker is made of. */
export interface WorkerOptions {
  readonly store: Store;
  readonly logs: LogStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly telemetry: Telemetry;
}

/**
 * Does durable work. Items are claimed under a lease, which heartbeats renew; each claim has a
 * fence that only grows, and every write of a run checks it. When a process dies, its items are
 * claimed by another, or by the same program started again, and go on from their checkpoint.
 */
export class Worker implements AsyncDisposable {
  readonly #options: WorkerOptions;
  readonly #identity = thisProcess();
  readonly #owner: string;
  readonly #handlers = new Map<WorkKind, WorkHandler<unknown, unknown>>();
  /** Those of the handlers' kinds that are claimed here. */
  readonly #kinds = new Set<WorkKind>();
  readonly #running = new Map<string, { readonly run: Run<unknown>; readonly done: Promise<void> }>();
  readonly #resources = new Cleanup();
  readonly #ending = new AbortController();
  readonly #far: FarTimes;
  #state: 'idle' | 'started' | 'stopping' = 'idle';
  #pumping: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  #pumpAgain = false;
  #renewedAt = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#far = new FarTimes(options.clock);
    this.#owner = formatOwner(this.#identity, newId(options.clock, options.random));
  }

  /** Says who does one kind of work. */
  register<I, O, C>(handler: WorkHandler<I, O, C>): void {
    this.#handlers.set(handler.kind, handler as WorkHandler<unknown, unknown>);
  }

  /** What this process does now: items that run, and when their leases were last renewed, once it was started. */
  get standing(): { readonly running: number; readonly renewedAt?: number } {
    return { running: this.#running.size, ...(this.#state === 'started' && { renewedAt: this.#renewedAt }) };
  }

  /** Kinds of work that can't be cancelled. */
  get uncancellable(): WorkKind[] {
    return [...this.#handlers.values()].filter((handler) => handler.uncancellable === true).map(({ kind }) => kind);
  }

  /** Begins to claim and run work of these kinds, besides those it was started with before. */
  start(kinds: readonly WorkKind[]): void {
    if (kinds.length === 0) return;
    for (const kind of kinds) if (this.#handlers.has(kind)) this.#kinds.add(kind);
    this.#pump();
    if (this.#state !== 'idle') return;
    this.#state = 'started';
    this.#renewedAt = this.#options.clock.now();
    this.#resources.use(this.#options.store.onCommit('work', () => this.#pump()));
    this.#every(limits.workPollMs, () => this.#pump());
    this.#every(limits.heartbeatMs, () => void this.#heartbeat());
    this.#every(limits.heartbeatMs, () => void this.#endFar());
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
    const { store, clock, telemetry } = this.#options;
    await this.#tellStopped();
    const free = limits.workConcurrency - this.#running.size;
    if (!(await this.#anythingDue(free))) return;
    const dead = await this.#deadOwners();
    const { recovered, rows } = await store.transaction(async (tx) => {
      await stopOverdue(tx, this.uncancellable, clock.now());
      const recovered = await requeueDue(tx, clock.now(), dead);
      const rows = free <= 0 ? [] : await claim(tx, [...this.#kinds], this.#owner, free, clock.now());
      return { recovered, rows };
    });
    for (const kind of recovered) telemetry.add('workTakeovers', 1, { 'bringup.work.kind': kind });
    for (const row of rows) {
      const run = new Run<unknown>(this.#options, row, this.#owner);
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
    const kinds = free > 0 ? [...this.#kinds] : [];
    const due = await dueItem({ kinds: kinds.length }).first(db, { kinds, now });
    if (due !== undefined || (await overdueItem.first(db, { now })) !== undefined) return true;
    return (await this.#deadOwners()).length > 0;
  }

  async #deadOwners(): Promise<string[]> {
    const rows = await runningOwners.all(this.#options.store.db, {});
    return rows.flatMap(({ owner }) => (owner !== null && isKnownDead(owner, this.#identity) ? [owner] : []));
  }

  /** Tells what runs here that it has been asked to stop. */
  async #tellStopped(): Promise<void> {
    if (this.#running.size === 0) return;
    const rows = await stoppedOf.all(this.#options.store.db, { owner: this.#owner });
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

  /** What was claimed or put off by a clock that is ahead is not left until that time comes here, too. */
  async #endFar(): Promise<void> {
    const { store, clock, logger } = this.#options;
    try {
      if (await endFarWork(store, this.#far, clock.now())) this.#pump();
    } catch (error) {
      logger.warn({ error }, 'looking for leases that are too long failed; trying again at the next heartbeat');
    }
  }

  async #execute(run: Run<unknown>): Promise<void> {
    const { clock } = this.#options;
    const handler = this.#handlers.get(run.kind);
    if (handler === undefined) return;
    // A deadline is dealt with where claims are made; this only sees to it that it is on time.
    using _deadline =
      run.deadlineAt === undefined || run.stopReason !== undefined
        ? undefined
        : clock.timer(Math.max(0, run.deadlineAt - clock.now()), () => this.#pump());
    try {
      await watchedRun(run, this.#options, () => this.#bringToEnd(run, handler));
    } finally {
      if (this.#running.get(run.id)?.run === run) this.#running.delete(run.id);
      this.#pump();
    }
  }

  async #bringToEnd(run: Run<unknown>, handler: WorkHandler<unknown, unknown>): Promise<RunEnd> {
    const { clock, logger } = this.#options;
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
      return { outcome: 'succeeded' };
    } catch (thrown) {
      const bounds = { clock, logger, uncancellable: this.uncancellable, ending: this.#ending.signal };
      return endUnfinished(run, handler, thrown, bounds).catch((error: unknown) => {
        // The lease runs out, and the item is taken up again from its checkpoint.
        logger.error({ error, work: run.id }, 'the end of a work item could not be stored');
        return unstored();
      });
    }
  }

  /** Stops claiming, interrupts what runs and hands it back to the queue. */
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

function lostLease(run: Run<unknown>, how: string): BringupError {
  return new BringupError('lease-lost', `the lease of ${run.kind} ${run.id} ${how}`);
}
