import { notFound } from '../errors.ts';
import { validate } from '../model/validate.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { tagField } from './schema.ts';

/** Pins or unpins a build. @throws `not-found`. */
export async function setPinned(store: Store, buildId: string, pinned: boolean): Promise<void> {
  await store.transaction(async ({ db }) => {
    const row = await db
      .updateTable('builds')
      .set({ pinned: pinned ? 1 : 0 })
      .where('id', '=', buildId)
      .returning('id')
      .executeTakeFirst();
    if (row === undefined) throw notFound('build', buildId);
  });
}

/** Gives a build a tag. @throws `not-found`, `invalid-input`. */
export async function addTag(store: Store, clock: Clock, buildId: string, tag: string): Promise<void> {
  const checked = validate('the tag', tagField, tag);
  await store.transaction(async (tx) => {
    await checkBuild(tx, buildId);
    await tx.db
      .insertInto('build_tags')
      .values({ build_id: buildId, tag: checked, created_at: clock.now() })
      .onConflict((c) => c.columns(['build_id', 'tag']).doNothing())
      .execute();
  });
}

/** Takes a tag off a build; one it does not have is fine. @throws `not-found`. */
export async function removeTag(store: Store, buildId: string, tag: string): Promise<void> {
  await store.transaction(async (tx) => {
    await checkBuild(tx, buildId);
    await tx.db.deleteFrom('build_tags').where('build_id', '=', buildId).where('tag', '=', tag).execute();
  });
}

async function checkBuild({ db }: StoreTransaction, buildId: string): Promise<void> {
  const row = await db.selectFrom('builds').select('id').where('id', '=', buildId).executeTakeFirst();
  if (row === undefined) throw notFound('build', buildId);
}
