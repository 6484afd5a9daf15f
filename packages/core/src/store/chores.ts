import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { FarTimes } from './far-times.ts';
import type { Store, StoreTransaction } from './store.ts';

/** Something that one of all processes is to do again and again. */
export interface SharedChoreOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** What it is known by to all processes. */
  readonly name: string;
  /** How long after it was begun it is due again. */
  readonly periodMs: number;
}

/**
 * Whose turn it is to do a chore that all processes share. A process that dies at it does no harm: the next one does it a
 * period later. A chore that nobody has heard of is first due after a period.
 */
export class SharedChore {
  readonly #options: SharedChoreOptions;
  readonly #far: FarTimes;

  constructor(options: SharedChoreOptions) {
    this.#options = options;
    this.#far = new FarTimes(options.clock);
  }

  /** True if it is due, for one process only. To be asked now and then. */
  async take(): Promise<boolean> {
    const { store, clock, name, periodMs } = this.#options;
    // A read first: an idle process must not take the write lock again and again.
    const known = await store.db.selectFrom('chores').select('due_at').where('name', '=', name).executeTakeFirst();
    const now = clock.now();
    if (known !== undefined && !this.#isDue(known.due_at, now)) return false;
    return store.transaction(async ({ db }) => {
      const added = await db
        .insertInto('chores')
        .values({ name, due_at: now + periodMs })
        .onConflict((c) => c.column('name').doNothing())
        .returning('name')
        .executeTakeFirst();
      if (added !== undefined || known === undefined) return false;
      const taken = await db
        .updateTable('chores')
        .set({ due_at: now + periodMs })
        .where('name', '=', name)
        .where('due_at', '=', known.due_at)
        .returning('name')
        .executeTakeFirst();
      return taken !== undefined;
    });
  }

  /** Who lives and has a clock that is ahead puts it off anew each period; what stays the same for longer is nobody's turn. */
  #isDue(dueAt: number, now: number): boolean {
    const { name, periodMs } = this.#options;
    const isFar = dueAt > now + periodMs + limits.clockMarginMs;
    const passed = this.#far.passed(isFar ? [{ key: name, at: dueAt, lengthMs: periodMs }] : []);
    return isFar ? passed.length > 0 : dueAt <= now;
  }
}

/** Makes a chore due at a time. Part of a transaction. */
export async function makeDueIn({ db }: StoreTransaction, name: string, at: number): Promise<void> {
  await db
    .insertInto('chores')
    .values({ name, due_at: at })
    .onConflict((c) => c.column('name').doUpdateSet({ due_at: at }))
    .execute();
}
