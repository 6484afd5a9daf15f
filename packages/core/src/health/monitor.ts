import { abortedError, sleep } from '../async.ts';
import type { Clock, Logger, Random } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ResourceKind } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { StoredStatus } from '../pool/status.ts';
import type { Store } from '../store/store.ts';
import { readTold, type StartRecovery } from './apply.ts';
import type { StoredLook } from './history.ts';
import { initialStanding } from './judge.ts';
import { Looker, lookIntervalMs, type LookResult } from './looker.ts';
import { Recorder } from './recorder.ts';
import { pageAfter, type ScannedRow } from './scan.ts';
import { Schedule } from './schedule.ts';
import { newTarget, targetRow, watchedResource, type Target } from './target.ts';
import { shardOf, Shards, type Guard, type ShardsTaken } from './shards.ts';
import { ThresholdBook } from './thresholds.ts';
import { Way } from './way.ts';

/** What a monitor is made of. */
export interface MonitorOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Begins to bring back a board that can't be reached. */
  readonly recover: StartRecovery;
}

/** What a look on request came to. */
export interface Visit {
  readonly target: Target;
  readonly result: LookResult;
  readonly at: number;
}

/** Watches the resources of a lab: all of them, or its share when other processes watch too. */
export class Monitor implements AsyncDisposable {
  readonly thresholds: ThresholdBook;
  readonly #options: MonitorOptions;
  readonly #shards: Shards;
  readonly #recorder: Recorder;
  readonly #looker: Looker;
  readonly #visits: Recorder;
  readonly #visitor: Looker;
  readonly #schedule: Schedule;
  readonly #targets = new Map<string, Target>();
  readonly #guard: Guard = (tx) => this.#shards.guard(tx);
  /** How often the pool was scanned. */
  #scan = 0;
  /** Turns under way. */
  #running = 0;
  #allDone: (() => void) | undefined;
  #heartbeat: Disposable | undefined;
  #beating: Promise<void> = Promise.resolve();
  #started = false;
  #watching = false;

  constructor(options: MonitorOptions) {
    const { store, clock, random, logger } = options;
    this.#options = options;
    this.#shards = new Shards(store, clock, random);
    this.thresholds = new ThresholdBook(store);
    this.#recorder = new Recorder({ store, clock, logger, guard: this.#guard });
    this.#looker = new Looker({ ...options, thresholds: this.thresholds, recorder: this.#recorder });
    this.#visits = new Recorder({ store, clock, logger, guard: unguarded });
    this.#visitor = new Looker({ ...options, thresholds: this.thresholds, recorder: this.#visits });
    this.#schedule = new Schedule(clock, (id) => this.#turn(id));
  }

  /** Whether this process watches any. */
  get isWatching(): boolean {
    return this.#watching;
  }

  /** What this process watches, and of how much its looks are too late. */
  watch(): { readonly shardsHeld: number; readonly watched: number; readonly late: number } {
    const before = this.#options.clock.now() - limits.healthIntervalMs;
    const slow = [...this.#targets.values()].filter(
      ({ turnSince }) => turnSince !== undefined && turnSince < before,
    ).length;
    return {
      shardsHeld: this.#shards.size,
      watched: this.#targets.size,
      late: slow + this.#schedule.countLate(limits.healthIntervalMs),
    };
  }

  /** Begins to watch: its share now, more as soon as another process has ended. Again: nothing. */
  async start(): Promise<void> {
    if (this.#started) return;
    this.#started = true;
    await this.#beat();
  }

  /** Stops watching; other processes may go on at once. What was seen is stored. */
  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    this.#heartbeat?.[Symbol.dispose]();
    this.#heartbeat = undefined;
    this.#stopLooks();
    await this.#beating;
    await this.#letGo();
    await this.#shards.leave().catch((error: unknown) => {
      this.#options.logger.warn({ error }, 'the leases of the health monitor could not be given back');
    });
  }

  /**
   * Looks at one resource now, retries included, until its state is certain, and stores what it found.
   * @throws `not-found`, `aborted`.
   */
  async check(id: string, kind: ResourceKind, signal: AbortSignal): Promise<Visit> {
    await this.thresholds.refresh();
    const watched = this.#targets.get(id);
    const target = watched ?? (await this.#load(id, kind));
    if (target.resource.kind !== kind) throw notFound(id, kind);
    // Whoever watches, what somebody asked to see is stored.
    const [looker, recorder, guard] =
      watched === undefined
        ? ([this.#visitor, this.#visits, unguarded] as const)
        : ([this.#looker, this.#recorder, this.#guard] as const);
    try {
      for (;;) {
        const result = await looker.look(target, signal, guard);
        if (signal.aborted) throw abortedError(`looking at ${id}`, signal);
        if (result.gone === true) throw notFound(id, kind);
        if (result.settled) return { target, result, at: this.#options.clock.now() };
        await sleep(this.#options.clock, result.againInMs ?? limits.healthRecheckMs, signal);
      }
    } finally {
      if (watched === undefined) recorder.finishMinute(target);
      await recorder.flush();
      if (watched === undefined) await target.way[Symbol.asyncDispose]();
    }
  }

  /** Looks that are not in the store yet. */
  unwritten(resourceId: string): readonly StoredLook[] {
    return [...this.#recorder.unwritten(resourceId), ...(this.#targets.get(resourceId)?.unstored.looks() ?? [])];
  }

  /** Keeps or takes its share, looks which resources there are, and comes again. */
  #beat(): Promise<void> {
    this.#beating = (async () => {
      const { clock, logger } = this.#options;
      try {
        const taken = await this.#shards.take();
        await this.thresholds.refresh();
        await this.#rescan(taken);
        this.#watching = taken.held.size > taken.surplus.size;
        if (taken.surplus.size > 0) {
          await this.#recorder.flush();
          await this.#shards.release(taken.surplus);
        }
      } catch (error) {
        if (this.#started) logger.warn({ error }, 'the health monitor could not see which resources there are');
      }
      if (!this.#started) return;
      this.#heartbeat = clock.timer(limits.healthRescanMs, () => void this.#beat(), { background: true });
    })();
    return this.#beating;
  }

  /** Brings what is watched in line with the pool. */
  async #rescan({ held, added, surplus }: ShardsTaken): Promise<void> {
    this.#scan += 1;
    const unknown: string[] = [];
    const changed: Target[] = [];
    // By the page: what a large lab has in its rows would outlive a collection if it were read at once.
    for (let after: string | undefined = ''; after !== undefined;) {
      const rows: ScannedRow[] = await pageAfter.all(this.#options.store.db, { after });
      for (const row of rows) {
        const shard = shardOf(row.id);
        if (!held.has(shard)) continue;
        const target = this.#targets.get(row.id);
        if (surplus.has(shard)) {
          // What was seen of it is stored before another process has it.
          if (target !== undefined) this.#recorder.finishMinute(target);
        } else if (target === undefined) unknown.push(row.id);
        else if (this.#compare(target, row)) changed.push(target);
      }
      after = rows.length < limits.pageSize ? undefined : rows.at(-1)?.id;
    }
    for (const target of changed) await this.#reread(target);
    for (const target of this.#targets.values()) {
      if (target.seenIn === this.#scan) continue;
      const shard = shardOf(target.id);
      if (held.has(shard) && !surplus.has(shard)) this.#recorder.forget(target);
      this.#forget(target);
    }
    await this.#add(unknown, added);
  }

  /** Takes over what decides how a target is watched; tells whether more of it has changed. */
  #compare(target: Target, row: ScannedRow): boolean {
    target.seenIn = this.#scan;
    // What it becomes is being decided. The next scan will tell.
    if (target.looking !== undefined) return false;
    const changed = target.updatedAt !== row.updated_at;
    Object.assign(target, targetRow(row));
    if (target.standing.status !== row.status) resume(target, row.status as StoredStatus);
    return changed;
  }

  async #add(ids: readonly string[], added: ReadonlySet<number>): Promise<void> {
    if (ids.length === 0) return;
    const { store, random } = this.#options;
    const told = await readTold(store.db);
    for (let at = 0; at < ids.length; at += limits.pageSize) {
      const rows = await store.db
        .selectFrom('resources')
        .selectAll()
        .where('id', 'in', ids.slice(at, at + limits.pageSize))
        .execute();
      for (const row of rows) {
        const target = newTarget(row, this.#way(row.id), told.get(row.id), this.#scan);
        this.#targets.set(row.id, target);
        // All of a shard at once would be too many; one that was just registered need not wait.
        const withinMs = added.has(shardOf(row.id)) ? lookIntervalMs(target) : limits.healthRecheckMs;
        this.#schedule.set(row.id, Math.floor(random.next() * withinMs));
      }
    }
  }

  /** Somebody changed the resource: how it is reached may be another. */
  async #reread(target: Target): Promise<void> {
    const row = await this.#options.store.db
      .selectFrom('resources')
      .selectAll()
      .where('id', '=', target.id)
      .executeTakeFirst();
    if (row === undefined) return;
    const before = JSON.stringify(target.resource.view, connectionFields);
    target.resource = watchedResource(row);
    if (JSON.stringify(target.resource.view, connectionFields) !== before) target.way.drop();
  }

  async #load(id: string, kind: ResourceKind): Promise<Target> {
    const { db } = this.#options.store;
    const row = await db.selectFrom('resources').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined || row.kind !== kind) throw notFound(id, kind);
    return newTarget(row, new Way(this.#options.connectors, () => undefined), (await readTold(db, id)).get(id));
  }

  #way(id: string): Way {
    // A connection that broke may be the first sign of an outage.
    return new Way(this.#options.connectors, () => {
      const target = this.#targets.get(id);
      if (target?.looking === undefined && this.#schedule.has(id))
        this.#schedule.set(id, this.#jitter(limits.healthBackoffMs));
    });
  }

  #turn(id: string): void {
    const target = this.#targets.get(id);
    if (target === undefined) return;
    this.#running += 1;
    void this.#lookAt(target).finally(() => {
      this.#running -= 1;
      if (this.#running === 0) this.#allDone?.();
    });
  }

  async #lookAt(target: Target): Promise<void> {
    const { logger } = this.#options;
    const stop = new AbortController();
    const { signal } = stop;
    target.stop = stop;
    target.turnSince = this.#options.clock.now();
    let againInMs: number | undefined;
    try {
      const result = await this.#looker.look(target, signal, this.#guard);
      if (result.gone === true) {
        this.#recorder.forget(target);
        this.#forget(target);
      }
      againInMs = result.againInMs;
    } catch (error) {
      if (isBringupError(error, 'lease-lost')) return;
      if (!signal.aborted)
        logger.warn({ error, resource: target.id }, 'what was seen of a resource could not be stored');
    } finally {
      target.stop = undefined;
      target.turnSince = undefined;
    }
    if (signal.aborted || this.#targets.get(target.id) !== target) return;
    this.#schedule.set(target.id, againInMs ?? this.#jitter(lookIntervalMs(target)));
  }

  #jitter(ms: number): number {
    const share = limits.healthJitterPercent / 100;
    return Math.round(ms * (1 + share * (2 * this.#options.random.next() - 1)));
  }

  #forget(target: Target): void {
    this.#targets.delete(target.id);
    this.#schedule.delete(target.id);
    target.stop?.abort();
    void target.way[Symbol.asyncDispose]();
  }

  #stopLooks(): void {
    for (const { stop } of this.#targets.values()) stop?.abort();
  }

  async #letGo(): Promise<void> {
    this.#watching = false;
    this.#schedule[Symbol.dispose]();
    this.#stopLooks();
    if (this.#running > 0) await new Promise<void>((resolve) => (this.#allDone = resolve));
    const targets = [...this.#targets.values()];
    this.#targets.clear();
    for (const target of targets) this.#recorder.finishMinute(target);
    await this.#recorder.flush();
    await Promise.all(targets.map(({ way }) => way[Symbol.asyncDispose]()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

const unguarded: Guard = async () => () => true;

const connectionFields = [
  'shell',
  'hostname',
  'ipAddress',
  'sshPort',
  'sshUsername',
  'sshKeyPath',
  'hypervisor',
  'workspace',
];

/** Somebody else changed its status: what was counted for the old one counts no more. */
function resume(target: Target, status: StoredStatus): void {
  target.standing = { ...initialStanding(status), outages: target.standing.outages };
}

function notFound(id: string, kind: ResourceKind): BringupError {
  return new BringupError('not-found', `there is no ${kind.replace('_', ' ')} ${id}`, { details: { id, kind } });
}
