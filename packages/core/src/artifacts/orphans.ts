import type { ArtifactStorage } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { Store } from '../store/store.ts';
import type { BlobKeeper } from './blobs.ts';

/** What a clean-up works with. */
export interface CleanupServices {
  readonly store: Store;
  readonly storage: ArtifactStorage;
  readonly clock: Clock;
  readonly blobs: BlobKeeper;
}

/**
 * Removes blobs that belong to nothing: those whose artifacts were forgotten by a process that died
 * before it removed them, and those that a process stored and never recorded. One that is new here is
 * only noted: whoever stored it may be about to record it.
 */
export async function removeOrphans(
  { store, storage, clock, blobs }: CleanupServices,
  dryRun: boolean,
  options: CallOptions,
): Promise<{ readonly count: number; readonly freedBytes: number }> {
  const now = clock.now();
  if (!dryRun) {
    await endClaims(store, now);
    for await (const page of pagesOf(storage.list(options))) await noteUnknown(store, page, now);
    await noteUnused(store, now);
  }
  const old = await store.db
    .selectFrom('blobs')
    .select(['sha256', 'size_bytes'])
    .where((eb) => eb.or([eb('unused_since', '<=', now - limits.artifactOrphanMs), eb('doomed_at', 'is not', null)]))
    .execute();
  const gone = dryRun
    ? old.map((row) => ({ sizeBytes: row.size_bytes }))
    : await blobs.removeUnused(
        old.map((row) => row.sha256),
        options,
      );
  return { count: gone.length, freedBytes: gone.reduce((sum, blob) => sum + blob.sizeBytes, 0) };
}

/** Claims of work that has ended, or of somebody who never came back. */
async function endClaims(store: Store, now: number): Promise<void> {
  await store.transaction(async ({ db }) => {
    await db
      .deleteFrom('blob_claims')
      .where((eb) =>
        eb.exists(
          eb
            .selectFrom('work_items')
            .select('work_items.id')
            .whereRef('work_items.id', '=', 'blob_claims.holder')
            .where('work_items.finished_at', 'is not', null),
        ),
      )
      .execute();
    await db
      .deleteFrom('blob_claims')
      .where('created_at', '<=', now - limits.artifactClaimMs)
      .where((eb) =>
        eb.not(
          eb.exists(
            eb.selectFrom('work_items').select('work_items.id').whereRef('work_items.id', '=', 'blob_claims.holder'),
          ),
        ),
      )
      .execute();
  });
}

async function noteUnknown(
  store: Store,
  page: readonly { readonly sha256: string; readonly sizeBytes: number }[],
  now: number,
): Promise<void> {
  const known = await store.db
    .selectFrom('blobs')
    .select('sha256')
    .where(
      'sha256',
      'in',
      page.map((blob) => blob.sha256),
    )
    .execute();
  const names = new Set(known.map((row) => row.sha256));
  const unknown = page.filter((blob) => !names.has(blob.sha256));
  if (unknown.length === 0) return;
  await store.transaction(async ({ db }) => {
    await db
      .insertInto('blobs')
      .values(
        unknown.map(({ sha256, sizeBytes }) => ({
          sha256,
          size_bytes: sizeBytes,
          verified_at: now,
          corrupted_at: null,
          unused_since: now,
          doomed_at: null,
        })),
      )
      .onConflict((c) => c.column('sha256').doNothing())
      .execute();
  });
}

/** Starts the clock of blobs that no artifact has; one that is claimed is kept by its claim. */
async function noteUnused(store: Store, now: number): Promise<void> {
  await store.transaction(async ({ db }) => {
    await db
      .updateTable('blobs')
      .set({ unused_since: now })
      .where('unused_since', 'is', null)
      .where((eb) =>
        eb.not(
          eb.exists(
            eb.selectFrom('artifacts').select('artifacts.id').whereRef('artifacts.sha256', '=', 'blobs.sha256'),
          ),
        ),
      )
      .execute();
  });
}

async function* pagesOf<T>(items: AsyncIterable<T>): AsyncGenerator<T[]> {
  let page: T[] = [];
  for await (const item of items) {
    page.push(item);
    if (page.length === limits.pageSize) {
      yield page;
      page = [];
    }
  }
  if (page.length > 0) yield page;
}
