import type { Selectable } from 'kysely';
import type { FlashPart } from '../model/flash.ts';
import type { FlashRow } from '../store/schema/deployments.ts';
import type { StoreTransaction } from '../store/store.ts';

/** A flash as it is queued. */
export interface FlashInput {
  readonly boardId: string;
  readonly parts: readonly FlashPart[];
  readonly firmwareVersion: string;
  readonly buildId?: string;
  readonly commitHash?: string;
  /** The deployment it is part of, which holds the board. Without one, the flash takes the board itself. */
  readonly deploymentId?: string;
  readonly reservationId?: string;
}

/** Writes the flash's own record beside its work item: an entry of the board's flash history. */
export async function insertFlash({ db }: StoreTransaction, id: string, input: FlashInput): Promise<void> {
  await db
    .insertInto('flashes')
    .values({
      id,
      board_id: input.boardId,
      deployment_id: input.deploymentId ?? null,
      build_id: input.buildId ?? null,
      commit_hash: input.commitHash ?? null,
      firmware_version: input.firmwareVersion,
      parts: JSON.stringify(input.parts),
      receipts: '[]',
      attempts: 0,
      transferred_bytes: 0,
    } satisfies Selectable<FlashRow>)
    .execute();
}
