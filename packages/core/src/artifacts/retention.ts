import type { CallOptions } from '../contracts/runtime.ts';
import { throwIfAborted } from '../async.ts';
import { limits } from '../limits.ts';
import type { CleanupReport, RemovalReason, RetentionPolicy } from '../model/artifact.ts';
import type { Store } from '../store/store.ts';
import { removeOrphans, type CleanupServices } from './orphans.ts';
import { reasonToKeep, removeRecords } from './removal.ts';
import { BlobCounts } from './blob-counts.ts';

interface Candidate {
  readonly id: string;
  readonly repository: string;
  readonly branch: string;
  readonly architecture: string;
  readonly succeeded_at: number | null;
  readonly finished_at: number | null;
}

/** Removes what the policy no longer keeps, oldest first, and what belongs to nothing. */
export async function cleanUp(
  services: CleanupServices,
  { policy, dryRun }: { readonly policy?: RetentionPolicy; readonly dryRun: boolean },
  options: CallOptions = {},
): Promise<CleanupReport> {
  const { store, clock } = services;
  const orphans = await removeOrphans(services, dryRun, options);
  const counts = new BlobCounts(store);
  let keptBytes = await counts.totalBytes();
  let freeBytes = policy?.minFreeBytes === undefined ? undefined : await services.storage.freeBytes(options);
  const builds: { buildId: string; reason: RemovalReason; artifacts: number; freedBytes: number }[] = [];
  for await (const build of oldestFirst(store, policy)) {
    throwIfAborted(options.signal, 'cleaning up artifacts');
    const { id: buildId } = build;
    const reason = await reasonToRemove(store, policy ?? {}, build, { now: clock.now(), keptBytes, freeBytes });
    if (reason === undefined) continue;
    const removed = dryRun ? await counts.without(buildId) : await removeBuild(services, buildId, options);
    if (removed === undefined) continue;
    keptBytes -= removed.freedBytes;
    if (freeBytes !== undefined) freeBytes += removed.freedBytes;
    builds.push({ buildId, reason, ...removed });
  }
  const freedBytes = builds.reduce((sum, build) => sum + build.freedBytes, orphans.freedBytes);
  return { dryRun, builds, orphans: orphans.count, freedBytes, keptBytes };
}

/** Finished builds that have artifacts, page by page. */
async function* oldestFirst(store: Store, policy: RetentionPolicy | undefined): AsyncGenerator<Candidate> {
  if (policy === undefined) return;
  for (let after = ''; ;) {
    const rows = await store.db
      .selectFrom('builds')
      .innerJoin('work_items', 'work_items.id', 'builds.id')
      .select(['builds.id', 'builds.repository', 'builds.branch', 'builds.architecture', 'builds.succeeded_at'])
      .select('work_items.finished_at')
      .where('builds.id', '>', after)
      .where('builds.artifacts_removed_at', 'is', null)
      .where('work_items.finished_at', 'is not', null)
      .orderBy('builds.id')
      .limit(limits.pageSize)
      .execute();
    yield* rows;
    const last = rows.at(-1);
    if (last === undefined || rows.length < limits.pageSize) return;
    after = last.id;
  }
}

async function reasonToRemove(
  store: Store,
  policy: RetentionPolicy,
  build: Candidate,
  is: { readonly now: number; readonly keptBytes: number; readonly freeBytes: number | undefined },
): Promise<RemovalReason | undefined> {
  const { maxAgeMs, maxTotalBytes, minFreeBytes } = policy;
  const reason =
    maxAgeMs !== undefined && is.now - (build.finished_at ?? is.now) > maxAgeMs
      ? 'age'
      : maxTotalBytes !== undefined && is.keptBytes > maxTotalBytes
        ? 'total-size'
        : minFreeBytes !== undefined && is.freeBytes !== undefined && is.freeBytes < minFreeBytes
          ? 'free-space'
          : maxAgeMs === undefined && policy.keepLatest !== undefined && build.succeeded_at !== null
            ? 'count'
            : undefined;
  if (reason === undefined || (await isAmongNewest(store, build, policy.keepLatest ?? limits.artifactKeepLatest))) {
    return undefined;
  }
  return (await reasonToKeep(store.db, build.id)) === undefined ? reason : undefined;
}

/** Whether fewer than `count` builds of the same repository, branch and architecture are newer. */
async function isAmongNewest(store: Store, build: Candidate, count: number): Promise<boolean> {
  if (build.succeeded_at === null || count === 0) return false;
  const newer = await store.db
    .selectFrom('builds')
    .select('id')
    .where('repository', '=', build.repository)
    .where('branch', '=', build.branch)
    .where('architecture', '=', build.architecture)
    .where('artifacts_removed_at', 'is', null)
    .where((eb) =>
      eb.or([
        eb('succeeded_at', '>', build.succeeded_at),
        eb.and([eb('succeeded_at', '=', build.succeeded_at), eb('id', '>', build.id)]),
      ]),
    )
    .limit(count)
    .execute();
  return newer.length < count;
}

/** Undefined when something began to need it meanwhile. */
async function removeBuild(
  { store, clock, blobs }: CleanupServices,
  buildId: string,
  options: CallOptions,
): Promise<{ artifacts: number; freedBytes: number } | undefined> {
  const removed = await store.transaction(async (tx) =>
    (await reasonToKeep(tx.db, buildId)) === undefined ? removeRecords(tx, [buildId], clock.now(), buildId) : undefined,
  );
  if (removed === undefined) return undefined;
  const blobsGone = await blobs.removeUnused(removed.hashes, options);
  return { artifacts: removed.artifacts, freedBytes: blobsGone.reduce((sum, blob) => sum + blob.sizeBytes, 0) };
}
