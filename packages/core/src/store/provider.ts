import type { Dialect, Kysely } from 'kysely';
import type { StoreFlavor } from './flavor.ts';
import type { NewEvents } from './new-events.ts';
import type { Schema } from './schema.ts';
import type { Topic } from './topics.ts';

/** Carries word of commits between the processes that share a database. A hint: word may be lost. */
export interface CommitSignal {
  /** Tells the other processes that something was committed that they may wait for. */
  tell(): void;
  /**
   * Where the engine itself can tell at the commit, and of what: has it do so at the end of this transaction, in place of
   * `tell`, as it adds the events.
   */
  tellWith?(transaction: Kysely<Schema>, topics: readonly Topic[], events: NewEvents): Promise<void>;
  /** Calls `heard` soon after another process told, with the topics if they are known. Dispose of the result to stop. */
  listen(heard: (topics?: readonly Topic[]) => void): Disposable;
}

/** A database that was opened. */
export interface OpenedDatabase {
  readonly dialect: Dialect;
  readonly flavor: StoreFlavor;
  /** Where the engine has schemas, the one that holds the lab's tables. */
  readonly schema?: string;
  /** Without it, what other processes did is found by looking now and then. */
  readonly signal?: CommitSignal;
  /** Called once, after Kysely let go of it. */
  close(): Promise<void>;
}

/** Where a lab keeps its records; made by {@link sqlite} or {@link postgres}. */
export interface StoreProvider {
  /** @throws `store-failed`. */
  open(): Promise<OpenedDatabase>;
}
