import { sleep } from '../async.ts';
import type { ArtifactStorage, BlobInfo } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { StorageRoom } from './room.ts';

/**
 * The bytes of artifacts, and who counts on them. Bytes are shared: a build that finds its output
 * stored already does not send it again, while somebody else may be removing the last artifact that
 * had these bytes. So whoever brings bytes *claims* them first; bytes are *doomed* before they are
 * removed, in a transaction that sees every claim and every artifact; and a claim waits until what
 * is doomed is gone.
 */
export class BlobKeeper {
  readonly #store: Store;
  readonly #storage: ArtifactStorage;
  readonly #room: StorageRoom;
  readonly #clock: Clock;

  constructor(options: { store: Store; storage: ArtifactStorage; room: StorageRoom; clock: Clock }) {
    this.#store = options.store;
    this.#storage = options.storage;
    this.#room = options.room;
    this.#clock = options.clock;
  }

  /**
   * Sees to it that a blob is stored, and stays until `holder` has recorded it or has ended. `fill`
   * stores it; it is called only where the right bytes are not there.
   */
  async bring(holder: string, blob: BlobInfo, fill: () => Promise<unknown>, options: CallOptions = {}): Promise<void> {
    const { corrupted } = await this.#claim(holder, blob, options);
    const stored = corrupted ? undefined : await this.#storage.stat(blob.sha256, options);
    if (stored?.sizeBytes === blob.sizeBytes) return;
    await this.#room.watch(fill, blob.sizeBytes);
    await this.#proven(blob.sha256);
  }

  /** Stores a stream whose hash nobody knows yet, for `holder`. `source` may be asked for a second one. */
  async put(
    holder: string,
    source: () => AsyncIterable<Uint8Array>,
    options: CallOptions & { readonly sha256?: string } = {},
  ): Promise<BlobInfo> {
    const blob = await this.#room.watch(() => this.#storage.put(source(), options));
    await this.#claim(holder, blob, options);
    // Between the two somebody may have removed the same bytes, which nobody needed until now.
    if ((await this.#storage.stat(blob.sha256, options)) === undefined) {
      await this.#room.watch(() => this.#storage.put(source(), { ...options, sha256: blob.sha256 }));
    }
    await this.#proven(blob.sha256);
    return blob;
  }

  /**
   * Says that an artifact has the blob; ends the claim. Part of the transaction that records it.
   * @throws `conflict`, retryable, when the blob is being removed: only without a claim.
   */
  async useIn(
    { db }: StoreTransaction,
    holder: string,
    blob: BlobInfo & { readonly corrupted?: boolean },
  ): Promise<{ corrupted_at: number | null }> {
    const { sha256, sizeBytes } = blob;
    const known = await db.selectFrom('blobs').selectAll().where('sha256', '=', sha256).executeTakeFirst();
    if (known !== undefined && known.doomed_at !== null) {
      throw new BringupError('conflict', `the bytes ${sha256} are being removed just now; store them again`, {
        retryable: true,
        details: { sha256 },
      });
    }
    await db.deleteFrom('blob_claims').where('sha256', '=', sha256).where('holder', '=', holder).execute();
    if (known !== undefined && !(blob.corrupted === true && known.corrupted_at === null)) {
      await db.updateTable('blobs').set({ unused_since: null }).where('sha256', '=', sha256).execute();
      return known;
    }
    const now = this.#clock.now();
    const corrupted_at = blob.corrupted === true ? now : null;
    await db
      .insertInto('blobs')
      .values({ sha256, size_bytes: sizeBytes, verified_at: now, corrupted_at, unused_since: null, doomed_at: null })
      .onConflict((c) => c.column('sha256').doUpdateSet({ corrupted_at, unused_since: null }))
      .execute();
    return { corrupted_at };
  }

  /** Reads a whole blob and says whether it has its hash. One that has not is served no more. */
  async verify(sha256: string, options: CallOptions = {}): Promise<boolean> {
    try {
      for await (const _chunk of this.#storage.get(sha256, options));
    } catch (error) {
      if (!isBringupError(error, 'artifact-corrupted', 'artifact-not-found')) throw error;
      await this.markCorrupted(sha256);
      return false;
    }
    await this.#proven(sha256);
    return true;
  }

  /** Stops serving a blob until its bytes are stored again, and tells whose they are. */
  async markCorrupted(sha256: string): Promise<void> {
    await this.#store.transaction(async (tx) => {
      const marked = await tx.db
        .updateTable('blobs')
        .set({ corrupted_at: this.#clock.now() })
        .where('sha256', '=', sha256)
        .where('corrupted_at', 'is', null)
        .where('doomed_at', 'is', null)
        .returning('sha256')
        .executeTakeFirst();
      if (marked !== undefined) await tellOwners(tx, sha256, 'artifact:corrupted');
    });
  }

  /**
   * Removes those of the blobs from the storage that no artifact has and nobody claims.
   * @returns what was removed.
   */
  async removeUnused(hashes: readonly string[], options: CallOptions = {}): Promise<BlobInfo[]> {
    const removed: BlobInfo[] = [];
    for (let at = 0; at < hashes.length; at += limits.artifactRemovalBatch) {
      const batch = hashes.slice(at, at + limits.artifactRemovalBatch);
      const doomedAt = this.#clock.now();
      const doomed = await this.#store.transaction((tx) => doomUnused(tx, batch, doomedAt));
      for (const blob of doomed) {
        // Later a claim may count on its being over; the rest is left to the next clean-up.
        if (this.#clock.now() - doomedAt > limits.artifactRemovalMs - limits.storageCallTimeoutMs) return removed;
        await this.#storage.delete(blob.sha256, options);
        await this.#store.transaction(async ({ db }) => {
          await db.deleteFrom('blobs').where('sha256', '=', blob.sha256).where('doomed_at', '=', doomedAt).execute();
        });
        removed.push(blob);
      }
    }
    return removed;
  }

  /** Reads stored bytes, those first that were proven longest ago, until about `maxBytes` were. @returns how many. */
  async scrub(maxBytes: number, options: CallOptions = {}): Promise<number> {
    const before = this.#clock.now();
    let bytes = 0;
    while (bytes < maxBytes) {
      const next = await this.#store.db
        .selectFrom('blobs')
        .select(['sha256', 'size_bytes'])
        .where('corrupted_at', 'is', null)
        .where('doomed_at', 'is', null)
        .where('verified_at', '<', before)
        .where((eb) =>
          eb.exists(
            eb.selectFrom('artifacts').select('artifacts.id').whereRef('artifacts.sha256', '=', 'blobs.sha256'),
          ),
        )
        .orderBy('verified_at')
        .orderBy('sha256')
        .limit(1)
        .executeTakeFirst();
      if (next === undefined) break;
      await this.verify(next.sha256, options);
      bytes += Math.max(next.size_bytes, 1);
    }
    return bytes;
  }

  async #claim(holder: string, blob: BlobInfo, options: CallOptions): Promise<{ corrupted: boolean }> {
    for (;;) {
      const claimed = await this.#store.transaction((tx) => claimIn(tx, holder, blob, this.#clock.now()));
      if (claimed !== undefined) return claimed;
      await sleep(this.#clock, limits.workPollMs, options.signal);
    }
  }

  async #proven(sha256: string): Promise<void> {
    await this.#store.transaction(async (tx) => {
      const known = await tx.db
        .selectFrom('blobs')
        .select('corrupted_at')
        .where('sha256', '=', sha256)
        .executeTakeFirst();
      await tx.db
        .updateTable('blobs')
        .set({ verified_at: this.#clock.now(), corrupted_at: null })
        .where('sha256', '=', sha256)
        .execute();
      if (known !== undefined && known.corrupted_at !== null) await tellOwners(tx, sha256, 'artifact:healed');
    });
  }
}

/** Undefined while the blob is being removed. */
async function claimIn(
  { db }: StoreTransaction,
  holder: string,
  { sha256, sizeBytes }: BlobInfo,
  now: number,
): Promise<{ corrupted: boolean } | undefined> {
  const known = await db.selectFrom('blobs').selectAll().where('sha256', '=', sha256).executeTakeFirst();
  if (known !== undefined && known.doomed_at !== null && now - known.doomed_at < limits.artifactRemovalMs) {
    return undefined;
  }
  await db
    .insertInto('blobs')
    .values({
      sha256,
      size_bytes: sizeBytes,
      verified_at: now,
      corrupted_at: null,
      unused_since: null,
      doomed_at: null,
    })
    .onConflict((c) => c.column('sha256').doUpdateSet({ unused_since: null, doomed_at: null }))
    .execute();
  await db
    .insertInto('blob_claims')
    .values({ sha256, holder, created_at: now })
    .onConflict((c) => c.columns(['sha256', 'holder']).doUpdateSet({ created_at: now }))
    .execute();
  return { corrupted: known !== undefined && known.corrupted_at !== null };
}

/** Takes from everybody what no artifact has and nobody claims, so that it can be removed. */
async function doomUnused(tx: StoreTransaction, hashes: readonly string[], now: number): Promise<BlobInfo[]> {
  const rows = await tx.db
    .updateTable('blobs')
    .set({ doomed_at: now })
    .where('sha256', 'in', hashes)
    .where((eb) => eb.or([eb('doomed_at', 'is', null), eb('doomed_at', '<=', now - limits.artifactRemovalMs)]))
    .where((eb) =>
      eb.not(
        eb.exists(eb.selectFrom('artifacts').select('artifacts.id').whereRef('artifacts.sha256', '=', 'blobs.sha256')),
      ),
    )
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('blob_claims')
            .leftJoin('work_items', 'work_items.id', 'blob_claims.holder')
            .select('blob_claims.holder')
            .whereRef('blob_claims.sha256', '=', 'blobs.sha256')
            .where((claim) =>
              claim.or([
                claim.and([claim('work_items.id', 'is not', null), claim('work_items.finished_at', 'is', null)]),
                claim.and([
                  claim('work_items.id', 'is', null),
                  claim('blob_claims.created_at', '>', now - limits.artifactClaimMs),
                ]),
              ]),
            ),
        ),
      ),
    )
    .returning(['sha256', 'size_bytes'])
    .execute();
  const doomed = rows.map((row) => ({ sha256: row.sha256, sizeBytes: row.size_bytes }));
  if (doomed.length > 0) {
    const names = doomed.map(({ sha256 }) => sha256);
    await tx.db.deleteFrom('blob_claims').where('sha256', 'in', names).execute();
  }
  return doomed;
}

async function tellOwners(
  tx: StoreTransaction,
  sha256: string,
  event: 'artifact:corrupted' | 'artifact:healed',
): Promise<void> {
  const owners = await tx.db.selectFrom('artifacts').select('id').where('sha256', '=', sha256).execute();
  for (const { id } of owners) await tx.emit(event, id, { id, sha256 });
}
