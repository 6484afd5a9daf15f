import type { Dialect } from 'kysely';
import type { StoreFlavor } from './flavor.ts';

/** Carries word of commits between the processes that share a database. A hint: word may be lost. */
export interface CommitSignal {
  /** Tells the other processes that something was committed that they may wait for. */
  tell(): void;
  /** Calls `heard` soon after another process told. Dispose of the result to stop. */
  listen(heard: () => void): Disposable;
}

/** A database that was opened. */
export interface OpenedDatabase {
  readonly dialect: Dialect;
  readonly flavor: StoreFlavor;
  /** Without it, what other processes did is found by looking now and then. */
  readonly signal?: CommitSignal;
  /** Called once, after Kysely let go of it. */
  close(): Promise<void>;
}

/** Where a lab keeps its records; made by {@link sqlite}. */
export interface StoreProvider {
  /** @throws `store-failed`. */
  open(): Promise<OpenedDatabase>;
}
