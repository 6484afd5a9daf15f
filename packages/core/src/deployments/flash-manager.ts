import type { Selectable } from 'kysely';
import * as v from 'valibot';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError, notFound } from '../errors.ts';
import { limits } from '../limits.ts';
import { idField, millisecondsField } from '../model/fields.ts';
import type { Flash, FlashPart, FlashReceipt, FlashRequest } from '../model/flash.ts';
import { pageLimit, type HistoryOptions } from '../model/page.ts';
import type { Board } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import type { WorkItem } from '../model/work.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { FlashRow } from '../store/schema/deployments.ts';
import type { Store } from '../store/store.ts';
import type { WorkEngine } from '../work/engine.ts';
import { courseOf, statusOf } from '../work/records.ts';
import { insertFlash, type FlashInput } from './flash-records.ts';
import { blockMapOf } from './flash-block-map.ts';
import { flashParts, planFlash } from './flash-plan.ts';
import { flashSlotsSchema } from './schema.ts';

const requestSchema: v.GenericSchema<unknown, FlashRequest> = v.strictObject({
  artifactIds: v.pipe(v.array(idField), v.minLength(1, 'name at least one artifact')),
  slots: v.exactOptional(flashSlotsSchema),
  firmwareVersion: v.exactOptional(v.pipe(v.string('must be a string'), v.nonEmpty('must not be empty'))),
  timeoutMs: v.exactOptional(millisecondsField),
  priority: v.exactOptional(v.pipe(v.number('must be a number'), v.integer('must be a whole number'))),
});

/** What a board holds, slot by slot, compared with what it was flashed with. */
export interface FirmwareVerification {
  readonly flashId: string;
  /** Every slot that can be read holds what it should, and at least one can. */
  readonly verified: boolean;
  readonly slots: readonly { readonly slot: string; readonly outcome: 'same' | 'different' | 'unknown' }[];
}

/** What the manager of flashes works with. */
export interface FlashManagerOptions {
  readonly store: Store;
  readonly work: WorkEngine;
  readonly connectors: Connectors;
  readonly artifacts: ArtifactRepository;
  readonly board: (id: string) => Promise<Board>;
}

/** The flash stations of boards: flash, look how far it is, stop it, read back. */
export class FlashManager {
  readonly #options: FlashManagerOptions;

  constructor(options: FlashManagerOptions) {
    this.#options = options;
  }

  /**
   * Queues a flash of a board, without booting it. The board is taken for it, and waits its turn while it
   * is in use; one that is offline can be flashed, which is how it comes back.
   * @throws `invalid-input` with one issue per field, `not-found`, `artifact-not-found`,
   * `architecture-mismatch`; `unsupported` for a board without a flash station.
   */
  async flashFirmware(boardId: string, input: FlashRequest): Promise<Flash> {
    const { work, artifacts } = this.#options;
    const request = validate('the flash', requestSchema, input);
    const board = await this.#options.board(boardId);
    if (board.flashStationId === undefined) {
      throw new BringupError('unsupported', `board ${board.name} has no flash station; give it a flashStationId`, {
        details: { boardId },
      });
    }
    const files = await Promise.all(request.artifactIds.map((id) => artifacts.getArtifact(id)));
    const { parts } = planFlash(files, [], request.slots, board.architecture);
    const first = parts[0]?.artifact;
    const commitHash = first?.metadata['commit'];
    const flash: FlashInput = {
      boardId,
      parts: flashParts(parts),
      firmwareVersion: request.firmwareVersion ?? commitHash ?? first?.buildId ?? first?.filename ?? '',
      ...(first?.buildId !== undefined && { buildId: first.buildId }),
      ...(commitHash !== undefined && { commitHash }),
    };
    const id = await work.submit('flash', flash, {
      prepare: (tx, flashId) => insertFlash(tx, flashId, flash),
      ...(request.timeoutMs !== undefined && { timeoutMs: request.timeoutMs }),
      ...(request.priority !== undefined && { priority: request.priority }),
    });
    return this.getFlashProgress(id);
  }

  /** A flash, and how far it is. @throws `not-found`. */
  async getFlashProgress(id: string): Promise<Flash> {
    const row = await this.#options.store.db.selectFrom('flashes').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) throw notFound('flash', id);
    return toFlash(row, await this.#options.work.get(id));
  }

  /** Waits for the end of a flash. @throws `not-found`, `aborted`, `deadline-exceeded`. */
  async waitForFlash(id: string, options: CallOptions = {}): Promise<Flash> {
    await this.#options.work.finished(id, options);
    return this.getFlashProgress(id);
  }

  /**
   * Stops a flash. A board that was being written is offline afterwards and nobody's to take until it is flashed
   * again, as an alert says.
   * @throws `not-found`; `conflict` when it is part of a deployment: cancel that.
   */
  async cancelFlash(id: string): Promise<void> {
    const { deploymentId } = await this.getFlashProgress(id);
    if (deploymentId !== undefined) {
      throw new BringupError('conflict', `flash ${id} is part of deployment ${deploymentId}; cancel that`, {
        details: { id, deploymentId },
      });
    }
    await this.#options.work.cancel(id, 'the flash was cancelled');
  }

  /** Flashes of a board, newest first. @throws `not-found`. */
  async getFlashHistory(boardId: string, options: HistoryOptions = {}): Promise<readonly Flash[]> {
    await this.#options.board(boardId);
    const rows = await this.#options.store.db
      .selectFrom('flashes')
      .selectAll()
      .where('board_id', '=', boardId)
      .$if(options.before !== undefined, (query) => query.where('id', '<', options.before ?? ''))
      .orderBy('id', 'desc')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map(async (row) => toFlash(row, await this.#options.work.get(row.id))));
  }

  /**
   * Reads a board's slots back through its flash station and compares them with what was flashed last.
   * Reading may halt a board, as stations that switch its medium over do.
   * @throws `not-found`; `conflict` when it was not flashed here to the end, or is being flashed; those of the
   * flash station.
   */
  async verifyFirmware(boardId: string, options: CallOptions = {}): Promise<FirmwareVerification> {
    const board = await this.#options.board(boardId);
    if (board.firmware === undefined || board.status === 'flashing') {
      const why = board.status === 'flashing' ? 'is being flashed' : 'was not flashed by this lab, or not to the end';
      throw new BringupError('conflict', `board ${board.name} ${why}`, { details: { boardId } });
    }
    const { id: flashId, parts } = await this.getFlashProgress(board.firmware.flashId);
    await using station = await this.#options.connectors.openFlash(board, options);
    const slots: { slot: string; outcome: 'same' | 'different' | 'unknown' }[] = [];
    for (const part of parts) {
      const { slot, sizeBytes, sha256 } = part;
      const bounded = { timeoutMs: limits.flashTimeoutMs, ...options };
      const blockMap = await blockMapOf(this.#options.artifacts, part, options);
      const expected = { slot, sizeBytes, sha256, ...(blockMap !== undefined && { blockMap }) };
      const same = await station.verify?.(expected, bounded);
      slots.push({ slot, outcome: same === undefined ? 'unknown' : same ? 'same' : 'different' });
    }
    const outcomes = slots.map(({ outcome }) => outcome);
    return { flashId, verified: outcomes.includes('same') && !outcomes.includes('different'), slots };
  }
}

function toFlash(row: Selectable<FlashRow>, item: WorkItem): Flash {
  const parts = JSON.parse(row.parts) as FlashPart[];
  return {
    id: row.id,
    boardId: row.board_id,
    ...(row.deployment_id !== null && { deploymentId: row.deployment_id }),
    ...(row.build_id !== null && { buildId: row.build_id }),
    ...(row.commit_hash !== null && { commitHash: row.commit_hash }),
    firmwareVersion: row.firmware_version,
    status: statusOf(item, item.phase === 'flashing' ? 'flashing' : 'queued'),
    parts,
    receipts: JSON.parse(row.receipts) as FlashReceipt[],
    attempts: row.attempts,
    transferredBytes: row.transferred_bytes,
    totalBytes: parts.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    ...courseOf(item),
  };
}
