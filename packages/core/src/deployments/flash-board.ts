import type { FirmwareRecord } from '../model/flash.ts';
import { blockedBy } from '../pool/kind.ts';
import { firmwareTrait } from '../pool/kinds/board.ts';
import { reserve, type CapacityRequest, type NewLease } from '../pool/reservations.ts';
import { allocatable, changeStatus, type StatusChange, type StoredStatus } from '../pool/status.ts';
import { halfFlashed } from '../power/intervention.ts';
import { giveUpWaiting } from '../selection/obtain.ts';
import type { StoreTransaction } from '../store/store.ts';

/** A board that was taken though nobody else would get it. */
export interface LyingBoard {
  readonly reservationId: string;
  /** What was known of it before. */
  readonly status: StoredStatus;
  readonly halfFlashed: boolean;
}

/**
 * Takes a board that is offline or half-flashed: it can be flashed all the same, and that is how it comes back.
 * Undefined when it is neither, or somebody has it.
 */
export async function takeLying(
  tx: StoreTransaction,
  request: CapacityRequest,
  lease: NewLease,
): Promise<LyingBoard | undefined> {
  const { resourceId, holder, now } = lease;
  const row = await tx.db
    .selectFrom('resources')
    .select(['status', 'blocked', 'slots_used', 'maintenance'])
    .where('id', '=', resourceId)
    .executeTakeFirst();
  if (row === undefined || row.slots_used > 0 || row.maintenance === 1) return undefined;
  const status = row.status as StoredStatus;
  const blocked = blockedBy(row);
  const half = blocked.includes(halfFlashed);
  const lies = status === 'offline' || status === 'unknown' || (half && allocatable.includes(status));
  if (!lies || blocked.some((word) => word !== halfFlashed)) return undefined;
  // Offered to those who wait only at the end of the transaction: nobody else can have it in between.
  await changeStatus(tx, resourceId, {
    status: 'online',
    reason: 'it is going to be flashed',
    unblock: [halfFlashed],
    now,
  });
  const taken = await reserve(tx, request, lease);
  if (taken === undefined) throw new TypeError(`board ${resourceId} is free, but could not be taken`);
  await giveUpWaiting(tx, holder);
  return { reservationId: taken.reservation.id, status, halfFlashed: half };
}

/** What a board that is being flashed is from now on. One that is something else already stays it. */
export async function endFlashing(tx: StoreTransaction, boardId: string, change: StatusChange): Promise<void> {
  const { status: _status, reason: _reason, ...rest } = change;
  const row = await tx.db.selectFrom('resources').select('status').where('id', '=', boardId).executeTakeFirst();
  await changeStatus(tx, boardId, row?.status === 'flashing' ? change : rest);
}

/** Nobody knows any more what a board runs. */
export async function forgetFirmware(tx: StoreTransaction, boardId: string, now: number): Promise<void> {
  const row = await tx.db.selectFrom('resources').select('firmware').where('id', '=', boardId).executeTakeFirst();
  if (typeof row?.firmware !== 'string') return;
  const { version } = JSON.parse(row.firmware) as FirmwareRecord;
  await tx.db.updateTable('resources').set({ firmware: null, updated_at: now }).where('id', '=', boardId).execute();
  await tx.db
    .deleteFrom('traits')
    .where('resource_id', '=', boardId)
    .where('trait', '=', firmwareTrait(version))
    .execute();
}
