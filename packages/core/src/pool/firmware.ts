import type { StoreTransaction } from '../store/store.ts';
import { firmwareTrait, type BoardProfile } from './kinds/board.ts';
import { offerToWaiting } from './reservations.ts';

/** Stores which firmware a board runs from now on, and when it was flashed with it. */
export async function recordFirmware(
  tx: StoreTransaction,
  boardId: string,
  flashed: { readonly version: string; readonly at: number },
): Promise<void> {
  const row = await tx.db.selectFrom('resources').select('profile').where('id', '=', boardId).executeTakeFirst();
  if (row === undefined) return;
  const before = JSON.parse(row.profile) as BoardProfile;
  const profile = { ...before, currentFirmwareVersion: flashed.version, lastFlashTimestamp: flashed.at };
  await tx.db
    .updateTable('resources')
    .set({ profile: JSON.stringify(profile), updated_at: flashed.at })
    .where('id', '=', boardId)
    .execute();
  if (before.currentFirmwareVersion !== undefined) {
    await tx.db
      .deleteFrom('traits')
      .where('resource_id', '=', boardId)
      .where('trait', '=', firmwareTrait(before.currentFirmwareVersion))
      .execute();
  }
  await tx.db
    .insertInto('traits')
    .values({ resource_id: boardId, trait: firmwareTrait(flashed.version) })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  offerToWaiting(tx, boardId);
}
