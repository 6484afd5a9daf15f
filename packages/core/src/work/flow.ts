import type { StoredError } from '../errors.ts';
import type { WorkKind, WorkState } from '../model/work.ts';
import type { StoreTransaction } from '../store/store.ts';

/** What a flow has started. */
export interface FlowChild {
  readonly id: string;
  readonly state: WorkState;
  readonly error?: StoredError;
}

/** How far a flow has come. */
export interface FlowState<I> {
  readonly id: string;
  readonly input: I;
  /** What it has started, by key. */
  readonly children: ReadonlyMap<string, FlowChild>;
  /** Milliseconds since the Unix epoch. */
  readonly now: number;
}

/** A child that is to be started. */
export interface FlowStart {
  /** Tells it from the flow's other children. */
  readonly key: string;
  readonly kind: WorkKind;
  readonly input: unknown;
  /** What the flow is doing from now on. */
  readonly phase?: string;
  /** Ends the child with `deadline-exceeded`; milliseconds from its creation. */
  readonly timeoutMs?: number;
  /** Records written in the same transaction as the child. */
  readonly prepare?: (tx: StoreTransaction, childId: string) => Promise<void>;
}

/** What comes next: a child to start, one to wait for, or the end. */
export type FlowStep<O> = { readonly start: FlowStart } | { readonly output: O } | 'wait';

/**
 * Work that only goes from one child to the next. It is asked what comes next in the transaction that changes how
 * its children stand, so it must do nothing but look: nobody claims it, and no process has to live for it.
 */
export interface WorkFlow<I, O> {
  readonly kind: WorkKind;
  /** What comes next. What it throws fails the flow. */
  next(state: FlowState<I>): FlowStep<O>;
  /** What has to be put in order after a failure or a cancellation; `undefined` when nothing has. */
  afterwards(state: FlowState<I>): Exclude<FlowStep<never>, { readonly output: never }> | undefined;
}
