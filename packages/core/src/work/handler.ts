import type { BringupError } from '../errors.ts';
import type { Clock, Logger } from '../contracts/runtime.ts';
import type { WorkItem, WorkKind } from '../model/work.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { LogWriter } from './logs.ts';

/** What a handler made of its work. */
export interface WorkResult<O> {
  readonly output: O;
  /** Records written in the same transaction as the completion: all or nothing. */
  readonly commit?: (tx: StoreTransaction) => Promise<void>;
}

/** How a child item is started. */
export interface ChildOptions {
  /** Start it even though the parent is being cancelled: for putting things back in order. */
  readonly evenIfCancelled?: boolean;
  /** Ends the child with `deadline-exceeded`; milliseconds from its creation. */
  readonly timeoutMs?: number;
  /** Records written in the same transaction as the child's creation. */
  readonly prepare?: (tx: StoreTransaction, childId: string) => Promise<void>;
}

/** What an item waits for when it steps aside. */
export interface WaitFor {
  /** A name that {@link WorkContext.expectIn} was told and that others wake, such as `grant:ID`. */
  readonly wakeOn?: string;
  /** At the latest after this long, milliseconds. */
  readonly atLatestMs?: number;
}

/**
 * What a handler works with. A handler may be run from its start again at any time: after a crash,
 * after waiting, in another process. It finds what it had reached in `checkpoint` and *probes* what
 * is really there before it acts.
 */
export interface WorkContext<C = unknown> {
  readonly id: string;
  readonly parentId: string | undefined;
  /** As the item was submitted with; what it starts has the same. */
  readonly priority: number;
  /** How often the item was taken over from a dead process. */
  readonly takeovers: number;
  /** When this run took it, milliseconds since the Unix epoch by this process's clock. */
  readonly claimedAt: number;
  /** What the run is in a trace; undefined where nobody traces. What it starts is a part of it. */
  readonly traceparent: string | undefined;
  /** Milliseconds since the Unix epoch at which the item ends with `deadline-exceeded`. */
  readonly deadlineAt: number | undefined;
  /** Aborts on cancellation, on the deadline, on a lost lease and when the lab shuts down. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What was last saved. */
  readonly checkpoint: C | undefined;
  /** Saves how far the work has come. @throws `lease-lost`. */
  save(checkpoint: C): Promise<void>;
  /** The same as part of a transaction of {@link WorkContext.transaction}. */
  saveIn(tx: StoreTransaction, checkpoint: C): Promise<void>;
  /** Says what the item is doing now. @throws `lease-lost`. */
  phase(name: string): Promise<void>;
  /** The same as part of a transaction of {@link WorkContext.transaction}. */
  phaseIn(tx: StoreTransaction, name: string): Promise<void>;
  /** A transaction that commits only while this run still owns the item. @throws `lease-lost`. */
  transaction<T>(change: (tx: StoreTransaction) => Promise<T>): Promise<T>;
  /** Makes sure right before a side effect that this run still owns the item. @throws `lease-lost`. */
  guard(): Promise<void>;
  /**
   * The finished child of that key; starts it if there is none yet, and steps aside until it ends.
   * The key must be the same each time the handler runs.
   */
  child<I, O>(key: string, kind: WorkKind, input: I, options?: ChildOptions): Promise<WorkItem<I, O>>;
  /**
   * Says what the run is about to look for, before it looks: an event between the look and
   * {@link WorkContext.stepAside} is then not missed. Part of a transaction of {@link WorkContext.transaction}.
   */
  expectIn(tx: StoreTransaction, wakeOn: string): Promise<void>;
  /** Steps aside; the handler is run again from its start when what it waits for happened. */
  stepAside(wait: WaitFor): never;
  /** Opens a log of the item for appending at its end. */
  openLog(logId: string): Promise<LogWriter>;
  /** Why the signal aborted, when it did. */
  readonly stopReason: BringupError | undefined;
}

/** Does one kind of work. */
export interface WorkHandler<I, O, C = unknown> {
  readonly kind: WorkKind;
  /** Set for work that puts things back in order: it can't be cancelled. */
  readonly uncancellable?: boolean;
  run(context: WorkContext<C>, input: I): Promise<WorkResult<O>>;
  /**
   * Puts right what a run left behind, before the item ends as failed or cancelled. Not called when
   * the item is only handed over. The context's own signal has aborted by then: use `signal`, which
   * bounds the clean-up. May be called more than once.
   */
  cleanUp?(context: WorkContext<C>, input: I, error: BringupError, signal: AbortSignal): Promise<void>;
}

/** Thrown by {@link WorkContext.stepAside} and caught by the engine; handlers let it pass. */
export class SteppedAside {
  readonly wait: WaitFor & { readonly childId?: string };

  constructor(wait: WaitFor & { readonly childId?: string }) {
    this.wait = wait;
  }
}
