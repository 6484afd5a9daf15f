import type { FirmwareRecord } from '../model/flash.ts';
import type { StoreTransaction } from '../store/store.ts';
import { firmwareTrait } from './kinds/board.ts';
import { offerToWaiting } from './reservations.ts';

/** Stores what a board was flashed with, which it runs from now on. */
export async function recordFirmware(tx: StoreTransaction, boardId: string, flashed: FirmwareRecord): Promise<void> {
  const row = await tx.db.selectFrom('resources').select('firmware').where('id', '=', boardId).executeTakeFirst();
  if (row === undefined) return;
  await tx.db
    .updateTable('resources')
    .set({ firmware: JSON.stringify(flashed), updated_at: flashed.flashedAt })
    .where('id', '=', boardId)
    .execute();
  if (row.firmware !== null) {
    const before = JSON.parse(row.firmware) as FirmwareRecord;
    await tx.db
      .deleteFrom('traits')
      .where('resource_id', '=', boardId)
      .where('trait', '=', firmwareTrait(before.version))
      .execute();
  }
  await tx.db
    .insertInto('traits')
    .values({ resource_id: boardId, trait: firmwareTrait(flashed.version) })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  offerToWaiting(tx, boardId);
}
