import { AsyncLocalStorage } from 'node:async_hooks';
import type { Selectable } from 'kysely';
import type { Clock, Logger, Random } from '../contracts/runtime.ts';
import { Cleanup } from '../cleanup.ts';
import { BringupError, fromStoredError, type StoredError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { WorkKind } from '../model/work.ts';
import type { WorkRow } from '../store/schema/work.ts';
import { newId } from '../runtime.ts';
import type { NewClaim, Store, StoreTransaction } from '../store/store.ts';
import type { Telemetry } from '../telemetry/telemetry.ts';
import { FarTimes } from '../store/far-times.ts';
import { endUnfinished, shuttingDown, type RunEnd } from './endings.ts';
import { endFarWork } from './far-work.ts';
import type { WorkHandler } from './handler.ts';
import type { LogStore } from './logs.ts';
import { formatOwner, isKnownDead, thisProcess } from './owner.ts';
import { runningOwners, stoppedOf, whatIsDue, type Due } from './queue-queries.ts';
import { claim, finish, requeueDue } from './queue.ts';
import { Run } from './run.ts';
import { stopOverdue } from './stops.ts';
import { unstored, watchedRun } from './watched-run.ts';

/** Undoes a transaction in which there was nothing to claim: a commit would be made durable for nothing. */
const nothingReady: unique symbol = Symbol('nothing ready');

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
 *
 * What a transaction of this process makes ready is claimed in that transaction, if there is room: the end of
 * one stage, what follows from it and the claim of the next stage are one commit. New work is not even queued then. What others make ready is found when
 * word of their commits comes, or at the next poll.
 */
export class Worker implements AsyncDisposable {
  readonly #options: WorkerOptions;
  readonly #identity = thisProcess();
  readonly #owner: string;
  readonly #handlers = new Map<WorkKind, WorkHandler<unknown, unknown>>();
  /** Those of the handlers' kinds that are claimed here. */
  readonly #kinds = new Set<WorkKind>();
  readonly #running = new Map<string, { readonly run: Run<unknown>; readonly done: Promise<void> }>();
  /** Who takes up room: runs from the transaction that claims to the one that gives up the item. */
  readonly #places = new Set<Run<unknown>>();
  /** Claims whose transactions have not ended. */
  readonly #claiming = new Set<Promise<void>>();
  /** Whether more may be ready than was claimed here, as far as this process knows. */
  #more = true;
  /** Runs are nobody's doing, whoever's transaction claimed them. */
  readonly #apart = AsyncLocalStorage.snapshot();
  readonly #resources = new Cleanup();
  readonly #ending = new AbortController();
  readonly #far: FarTimes;
  #state: 'idle' | 'started' | 'stopping' = 'idle';
  #pumping: Promise<void> | undefined;
  #stopping: Promise<void> | undefined;
  /** Whether another process has said that it left work that is done here. */
  #told = false;
  /** Whether to look for what nobody has told of. */
  #look = false;
  /** Whether the next look is for processes that have died, too: they don't tell. */
  #lookForDead = true;
  #renewedAt = 0;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#far = new FarTimes(options.clock);
    this.#owner = formatOwner(this.#identity, newId(options.clock, options.random));
    options.store.onNewWork((tx, kind) => this.#claimNew(tx, kind));
    // For as long as there is the store: what a process that ends hands back, others are to claim.
    options.store.onBeforeCommit('ready', async (tx, kinds) => {
      await this.#claim(tx);
      for (const kind of kinds) if (!this.#takes(kind)) tx.wake(`ready:${kind as WorkKind}`);
    });
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
    const { store } = this.#options;
    for (const kind of kinds) {
      if (!this.#handlers.has(kind) || this.#kinds.has(kind)) continue;
      this.#kinds.add(kind);
      this.#more = true;
      this.#resources.use(store.onCommit(`ready:${kind}`, () => this.#hear()));
    }
    this.#pump();
    if (this.#state !== 'idle') return;
    this.#state = 'started';
    this.#renewedAt = this.#options.clock.now();
    this.#resources.use(store.onCommit('elsewhere', () => this.#pump()));
    this.#resources.use(store.onCommit('stops', () => this.#pump()));
    this.#every(limits.workPollMs, () => {
      this.#lookForDead = true;
      this.#pump();
    });
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

  /** Another process has left work that is done here. */
  #hear(): void {
    if (this.#room <= 0) this.#more = true;
    else {
      this.#told = true;
      this.#work();
    }
  }

  /** Something may have happened: looks what there is to do. */
  #pump(): void {
    this.#look = true;
    this.#work();
  }

  #work(): void {
    if (this.#state !== 'started' || this.#pumping !== undefined) return;
    this.#pumping = (async () => {
      while ((this.#told || this.#look) && this.#state === 'started') {
        // Word of one commit may come by more than one way: one look for all.
        await Promise.resolve();
        const told = this.#told;
        this.#told = false;
        try {
          if (told) await this.#claimWhatWasTold();
          else {
            this.#look = false;
            await this.#lookForWork();
          }
        } catch (error) {
          this.#options.logger.error({ error }, 'looking for work failed; trying again at the next poll');
        }
      }
      this.#pumping = undefined;
    })();
  }

  async #claimWhatWasTold(): Promise<void> {
    try {
      await this.#options.store.transaction(async (tx) => {
        if ((await this.#claim(tx)) === 0) throw nothingReady;
      });
    } catch (thrown) {
      if (thrown !== nothingReady) throw thrown;
    }
  }

  async #lookForWork(): Promise<void> {
    const { store, clock, telemetry } = this.#options;
    const lookForDead = this.#lookForDead;
    this.#lookForDead = false;
    // Reads first: an idle process must not take the write lock whenever another one has committed something.
    const [due, dead] = await Promise.all([this.#due(), lookForDead ? this.#deadOwners() : [], this.#tellStopped()]);
    const back = Boolean(due?.back) || dead.length > 0;
    if (!due?.ready && !due?.late && !back) return;
    const recovered = await store.transaction(async (tx) => {
      tx.beforeCommit('ready', '');
      if (due?.late) await stopOverdue(tx, this.uncancellable, clock.now());
      return back ? requeueDue(tx, clock.now(), dead) : [];
    });
    for (const kind of recovered) telemetry.add('workTakeovers', 1, { 'bringup.work.kind': kind });
  }

  get #room(): number {
    return limits.workConcurrency - this.#places.size;
  }

  /** Whether all that is ready of a kind is claimed here, as far as the last claim has shown. The kind '' is none. */
  #takes(kind: string): boolean {
    return kind === '' || (this.#state === 'started' && !this.#more && this.#kinds.has(kind as WorkKind));
  }

  /** Claims what is ready and there is room for, and gives how much; it runs if and when the transaction commits. */
  async #claim(tx: StoreTransaction): Promise<number> {
    if (this.#state !== 'started' || this.#kinds.size === 0) return 0;
    const room = this.#room;
    this.#more = true;
    if (room <= 0) return 0;
    const rows = await claim(tx, [...this.#kinds], this.#owner, room, this.#options.clock.now());
    this.#more = rows.length === room;
    for (const row of rows) this.#beginWith(tx, row);
    return rows.length;
  }

  /** What is added where there is room, and where nothing else is known to be ready, need not be queued first. */
  #claimNew(tx: StoreTransaction, kind: string): NewClaim | undefined {
    if (this.#room <= 0 || !this.#takes(kind)) return undefined;
    return {
      owner: this.#owner,
      leaseUntil: this.#options.clock.now() + limits.leaseMs,
      took: (row) => this.#beginWith(tx, row),
    };
  }

  /** Makes room for what a transaction has claimed, and runs it if and when that commits. */
  #beginWith(tx: StoreTransaction, row: Selectable<WorkRow>): void {
    const run: Run<unknown> = new Run<unknown>(this.#options, row, this.#owner, (last) => this.#leave(run, last));
    this.#places.add(run);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#claiming.add(promise);
    tx.onEnd((committed) => {
      if (committed) this.#apart(() => this.#begin(run));
      else this.#places.delete(run);
      this.#claiming.delete(promise);
      resolve();
    });
  }

  #begin(run: Run<unknown>): void {
    if (run.askedToStop !== undefined) run.stop(run.askedToStop);
    const earlier = this.#running.get(run.id)?.run;
    // This process was held up for so long that its own lease ran out.
    if (earlier !== undefined && this.#places.has(earlier))
      earlier.stop(lostLease(run, 'ran out and was granted anew'));
    this.#running.set(run.id, { run, done: this.#execute(run) });
  }

  /** The room of a run that gives up its item is there for whoever is ready, in the same transaction. */
  #leave(run: Run<unknown>, tx: StoreTransaction): void {
    this.#places.delete(run);
    tx.onEnd((committed) => {
      if (!committed && this.#running.get(run.id)?.run === run) this.#places.add(run);
    });
    if (this.#more) tx.beforeCommit('ready', '');
  }

  #due(): Promise<Due | undefined> {
    const kinds = this.#room > 0 ? [...this.#kinds] : [];
    const { store, clock } = this.#options;
    return whatIsDue({ kinds: kinds.length }).first(store.db, { kinds, now: clock.now() });
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
      this.#places.delete(run);
      if (this.#running.get(run.id)?.run === run) this.#running.delete(run.id);
      if (this.#more && this.#room > 0) this.#pump();
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
      await run.end(async (tx, row) => {
        await result.commit?.(tx);
        await finish(tx, row, { state: 'succeeded', output: result.output }, clock.now());
      });
      return { outcome: 'succeeded' };
    } catch (thrown) {
      const bounds = { clock, logger, uncancellable: this.uncancellable, ending: this.#ending.signal };
      return endUnfinished(run, handler, thrown, bounds).catch((error: unknown) => {
        if (run.stopReason?.code === 'lease-lost') return { outcome: 'lost' as const, error: run.stopReason };
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
    await Promise.all(this.#claiming);
    const running = [...this.#running.values()];
    for (const { run } of running) run.stop(shuttingDown);
    this.#ending.abort(shuttingDown);
    await Promise.all(running.map(({ done }) => done));
  }
}

function lostLease(run: Run<unknown>, how: string): BringupError {
  return new BringupError('lease-lost', `the lease of ${run.kind} ${run.id} ${how}`);
}
