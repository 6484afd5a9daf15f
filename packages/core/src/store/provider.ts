import type { Dialect } from 'kysely';
import type { StoreFlavor } from './flavor.ts';

/** A database that was opened. */
export interface OpenedDatabase {
  readonly dialect: Dialect;
  readonly flavor: StoreFlavor;
  /** Called once, after Kysely let go of it. */
  close(): Promise<void>;
}

/** Where a lab keeps its records; made by {@link sqlite}. */
export interface StoreProvider {
  /** @throws `store-failed`. */
  open(): Promise<OpenedDatabase>;
}
