import type { Selectable } from 'kysely';
import type { WorkState } from '../model/work.ts';
import type { WorkRow } from '../store/schema/work.ts';
import type { StoreTransaction } from '../store/store.ts';
import { familyOf } from './queue-queries.ts';

type Family = Promise<Selectable<WorkRow>[]>;

const asked = new WeakMap<StoreTransaction, Map<string, Family>>();

/** Asks for an item and its children before they are needed: by then the answer is there, or on its way. */
export async function askForFamily(tx: StoreTransaction, id: string): Family {
  const family = familyOf.all(tx.db, { id });
  // Whoever needs it is told.
  family.catch(() => undefined);
  asked.set(tx, new Map(asked.get(tx)).set(id, family));
  return family;
}

/** An item and its children, as the transaction has left them. */
export async function takeFamily(tx: StoreTransaction, id: string): Family {
  const families = asked.get(tx);
  const family = families?.get(id);
  families?.delete(id);
  return family ?? familyOf.all(tx.db, { id });
}

/** Keeps what was asked for true when an item ends. */
export async function noteEnd(
  tx: StoreTransaction,
  { id, parent_id: parent }: Selectable<WorkRow>,
  end: { readonly state: WorkState; readonly error: string | null },
): Promise<void> {
  const family = parent === null ? undefined : asked.get(tx)?.get(parent);
  const row = (await family)?.find((one) => one.id === id);
  if (row !== undefined) Object.assign(row, end);
}
