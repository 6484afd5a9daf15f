import type { Selectable } from 'kysely';
import { BringupError, fromStoredError, isBringupError, toBringupError, type StoredError } from '../errors.ts';
import type { Clock, Logger, Random } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { isFinal, type WorkItem, type WorkKind, type WorkState } from '../model/work.ts';
import { newId } from '../runtime.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { askForFamily } from './family.ts';
import { SteppedAside, type ChildOptions, type WaitFor, type WorkContext } from './handler.ts';
import type { LogStore, LogWriter } from './logs.ts';
import { announce, enqueue, expectWake, owned } from './queue.ts';
import { childOf, isClaim, setCheckpoint, setPhase, type Claim } from './queue-queries.ts';
import { toWorkItem } from './records.ts';

/** What a run needs from the engine. */
export interface RunServices {
  readonly store: Store;
  readonly logs: LogStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** One claim of one item: from the claim until it ends, steps aside or is lost. */
export class Run<C> implements WorkContext<C> {
  readonly #services: RunServices;
  readonly #row: Selectable<WorkRow>;
  readonly #owner: string;
  readonly #left: (tx: StoreTransaction) => void;
  readonly #stop = new AbortController();
  readonly #writers: LogWriter[] = [];
  readonly #expected = new Set<string>();
  /** See {@link WorkContext.traceparent}; set when the run is begun. */
  traceparent: string | undefined;
  readonly claimedAt: number;
  #checkpoint: C | undefined;

  /** @param left - told of the transaction in which the run gives up the item. */
  constructor(
    services: RunServices,
    row: Selectable<WorkRow>,
    owner: string,
    left: (tx: StoreTransaction) => void = () => undefined,
  ) {
    this.#services = services;
    this.claimedAt = services.clock.now();
    this.#left = left;
    this.#row = row;
    this.#owner = owner;
    this.#checkpoint = row.checkpoint === null ? undefined : (JSON.parse(row.checkpoint) as C);
  }

  get id(): string {
    return this.#row.id;
  }

  get kind(): WorkKind {
    return this.#row.kind as WorkKind;
  }

  /** What of a trace the item is a part of. */
  get origin(): string | null {
    return this.#row.traceparent;
  }

  get createdAt(): number {
    return this.#row.created_at;
  }

  get startedAt(): number {
    return this.#row.started_at ?? this.#row.created_at;
  }

  get fence(): number {
    return this.#row.fence;
  }

  get parentId(): string | undefined {
    return this.#row.parent_id ?? undefined;
  }

  get priority(): number {
    return this.#row.priority;
  }

  get takeovers(): number {
    return this.#row.takeovers;
  }

  get deadlineAt(): number | undefined {
    return this.#row.deadline_at ?? undefined;
  }

  /** Why the item was asked to stop before this run claimed it. */
  get askedToStop(): BringupError | undefined {
    return this.#row.stop_reason === null
      ? undefined
      : fromStoredError(JSON.parse(this.#row.stop_reason) as StoredError);
  }

  /** The failure an earlier run had reached when its process died: only the clean-up is left to do. */
  get reachedFailure(): BringupError | undefined {
    return this.#row.error === null ? undefined : fromStoredError(JSON.parse(this.#row.error) as StoredError);
  }

  get input(): unknown {
    return JSON.parse(this.#row.input) as unknown;
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get clock(): Clock {
    return this.#services.clock;
  }

  get logger(): Logger {
    return this.#services.logger;
  }

  get checkpoint(): C | undefined {
    return this.#checkpoint;
  }

  get stopReason(): BringupError | undefined {
    const reason: unknown = this.#stop.signal.reason;
    return isBringupError(reason) ? reason : undefined;
  }

  /** Ends the run early: its signal aborts with `reason`. The first reason stays. */
  stop(reason: BringupError): void {
    this.#stop.abort(reason);
  }

  get #claim(): Claim {
    return { id: this.id, owner: this.#owner, fence: this.fence };
  }

  /**
   * Runs `change` if this run still owns the item, and hands it the item's row, which `find` reads.
   * @throws `lease-lost`, even after the commit, when this process stood still for so long meanwhile that it may not act
   * on what it saw.
   */
  async fenced<T>(
    change: (tx: StoreTransaction, row: Selectable<WorkRow>) => Promise<T>,
    find: (tx: StoreTransaction) => Promise<Selectable<WorkRow> | undefined> = ({ db }) => owned(db, this.#claim),
  ): Promise<T> {
    const since = this.clock.now();
    const changed = await this.#services.store.transaction(async (tx) => {
      const row = await find(tx);
      if (row === undefined) throw this.#lost('was taken over by another process');
      return change(tx, row);
    });
    if (this.clock.now() - since >= limits.leaseMs) throw this.#lost('stood still for longer than its lease');
    return changed;
  }

  #lost(how: string): BringupError {
    const lost = new BringupError('lease-lost', `${this.kind} ${this.id} ${how}`);
    this.stop(lost);
    return lost;
  }

  /** The run's last transaction: it gives up the item with it. */
  async leave(change: (tx: StoreTransaction, row: Selectable<WorkRow>) => Promise<void>): Promise<void> {
    await this.fenced(async (tx, row) => {
      await change(tx, row);
      this.leaveWith(tx);
    });
  }

  /** The same for the end of the item, which its parent hears of: one look shows whether it is still owned, and how the parent stands. */
  async end(change: (tx: StoreTransaction, row: Selectable<WorkRow>) => Promise<void>): Promise<void> {
    const { parentId } = this;
    await this.fenced(
      async (tx, row) => {
        await change(tx, row);
        this.leaveWith(tx);
      },
      parentId === undefined
        ? undefined
        : async (tx) => (await askForFamily(tx, parentId)).find((one) => isClaim(one, this.#claim)),
    );
  }

  /** Makes a transaction the run's last. */
  leaveWith(tx: StoreTransaction): void {
    this.#left(tx);
  }

  transaction<T>(change: (tx: StoreTransaction) => Promise<T>): Promise<T> {
    return this.fenced(change);
  }

  async guard(): Promise<void> {
    await this.fenced(async () => undefined);
  }

  async save(checkpoint: C): Promise<void> {
    await this.fenced((tx) => this.saveIn(tx, checkpoint));
  }

  async saveIn({ db }: StoreTransaction, checkpoint: C): Promise<void> {
    await setCheckpoint.send(db, { id: this.id, checkpoint: JSON.stringify(checkpoint) });
    this.#checkpoint = checkpoint;
  }

  async phase(name: string): Promise<void> {
    await this.fenced((tx) => this.phaseIn(tx, name));
  }

  async phaseIn(tx: StoreTransaction, name: string): Promise<void> {
    const row = await setPhase.first(tx.db, { id: this.id, phase: name });
    if (row !== undefined) await announce(tx, row, 'phase');
  }

  async child<I, O>(key: string, kind: WorkKind, input: I, options: ChildOptions = {}): Promise<WorkItem<I, O>> {
    const child = await this.fenced(async (tx, row) => {
      const existing = await childOf.first(tx.db, { parentId: this.id, key });
      if (existing !== undefined) return toWorkItem<I, O>(existing);
      // Whoever stored a moment ago that this is to stop did not find this child to stop, too.
      const stopped = this.signal.aborted || row.stop_reason !== null;
      if (stopped && options.evenIfCancelled !== true) return undefined;
      const id = newId(this.clock, this.#services.random);
      await enqueue(
        tx,
        {
          id,
          kind,
          input,
          parentId: this.id,
          childKey: key,
          priority: this.#row.priority,
          traceparent: this.traceparent,
          ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
        },
        this.clock.now(),
      );
      await options.prepare?.(tx, id);
      return id;
    });
    if (child === undefined)
      throw this.stopReason ?? new BringupError('aborted', `${this.kind} ${this.id} was stopped`);
    if (typeof child === 'string') throw new SteppedAside({ childId: child });
    if (!isFinal(child.state as WorkState)) throw new SteppedAside({ childId: child.id });
    return child;
  }

  async expectIn(tx: StoreTransaction, wakeOn: string): Promise<void> {
    await expectWake(tx, this.id, wakeOn);
    this.#expected.add(wakeOn);
  }

  stepAside(wait: WaitFor): never {
    if (wait.wakeOn !== undefined && !this.#expected.has(wait.wakeOn)) {
      throw new TypeError(`call expectIn('${wait.wakeOn}') before looking for what is waited for`);
    }
    throw new SteppedAside(wait);
  }

  async openLog(logId: string): Promise<LogWriter> {
    const writer = await this.#services.logs.openWriter(logId, (change) => this.fenced(change));
    this.#writers.push(writer);
    return writer;
  }

  /** Stores what the run's logs still hold. */
  async flushLogs(): Promise<void> {
    for (const writer of this.#writers) await writer[Symbol.asyncDispose]();
  }

  /** What the run's failure means for the item: the reason it was stopped, else what was thrown. */
  failure(thrown: unknown): BringupError {
    return this.stopReason ?? toBringupError(thrown);
  }
}
