import type { Clock, Random } from '../contracts/runtime.ts';
import { newId } from '../runtime.ts';
import type { Store } from './store.ts';

const name = 'lab-id';

/** Id of the lab that a store belongs to: made once, the same for every process that ever opens it. */
export async function labIdentity(
  store: Store,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<string> {
  const known = await store.db.selectFrom('facts').select('value').where('name', '=', name).executeTakeFirst();
  if (known !== undefined) return known.value;
  return store.transaction(async ({ db }) => {
    const fact = { name, value: newId(clock, random) };
    await db
      .insertInto('facts')
      .values(fact)
      .onConflict((c) => c.column('name').doNothing())
      .execute();
    const { value } = await db.selectFrom('facts').select('value').where('name', '=', name).executeTakeFirstOrThrow();
    return value;
  });
}
