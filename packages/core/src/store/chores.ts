import type { Store, StoreTransaction } from './store.ts';

/**
 * Takes a chore that is due: true for one process only, for whom it is due again after `periodMs`.
 * A process that dies at it does no harm: the next one does it a period later. A chore nobody has
 * heard of is first due after a period.
 */
export async function takeChore(store: Store, name: string, periodMs: number, now: number): Promise<boolean> {
  // A read first: an idle process must not take the write lock again and again.
  const known = await store.db.selectFrom('chores').select('due_at').where('name', '=', name).executeTakeFirst();
  if (known !== undefined && known.due_at > now) return false;
  return store.transaction(async ({ db }) => {
    const added = await db
      .insertInto('chores')
      .values({ name, due_at: now + periodMs })
      .onConflict((c) => c.column('name').doNothing())
      .returning('name')
      .executeTakeFirst();
    if (added !== undefined) return false;
    const taken = await db
      .updateTable('chores')
      .set({ due_at: now + periodMs })
      .where('name', '=', name)
      .where('due_at', '<=', now)
      .returning('name')
      .executeTakeFirst();
    return taken !== undefined;
  });
}

/** Makes a chore due at a time. Part of a transaction. */
export async function makeDueIn({ db }: StoreTransaction, name: string, at: number): Promise<void> {
  await db
    .insertInto('chores')
    .values({ name, due_at: at })
    .onConflict((c) => c.column('name').doUpdateSet({ due_at: at }))
    .execute();
}
