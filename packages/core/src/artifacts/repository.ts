import type { ArtifactStorage, BlobInfo, GetBlobOptions } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Artifact, ArtifactSelection, ArtifactType, CleanupReport, RetentionPolicy } from '../model/artifact.ts';
import { validate } from '../model/validate.ts';
import { newId } from '../runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { BlobKeeper } from './blobs.ts';
import { checkFilename } from './filename.ts';
import { findBuild } from './find-build.ts';
import { addTag, removeTag, setPinned } from './marks.ts';
import { artifactRecords, toArtifact, type ArtifactOrigin, type ArtifactRecord, type NewArtifact } from './records.ts';
import { checkRemovable, removeRecords } from './removal.ts';
import { cleanUp } from './retention.ts';
import { StorageRoom, type FullStorage } from './room.ts';
import { artifactSelectionSchema, retentionPolicySchema } from './schema.ts';

/** A file to be kept. */
export interface ArtifactFile {
  readonly type: ArtifactType;
  /** Relative path with `/`. */
  readonly filename: string;
  readonly architecture: Architecture;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly bytes: AsyncIterable<Uint8Array>;
  /** What the bytes must hash to, when that is known. Lower-case hex. */
  readonly sha256?: string;
}

/** The finished build a selection means, and what it made. */
export interface SelectedBuild {
  readonly buildId: string;
  readonly commitHash: string | undefined;
  readonly artifacts: readonly Artifact[];
}

/** The artifacts of the lab: bytes in the storage, what they are in the store. */
export class ArtifactRepository {
  /** Whether the storage has room; those who store things wait for it. */
  readonly room: StorageRoom;
  readonly #store: Store;
  readonly #storage: ArtifactStorage;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #blobs: BlobKeeper;
  readonly #retention: RetentionPolicy | undefined;

  constructor(options: {
    store: Store;
    storage: ArtifactStorage;
    clock: Clock;
    random: Random;
    retention?: RetentionPolicy;
  }) {
    this.#store = options.store;
    this.#storage = options.storage;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#retention = options.retention && validate('the retention policy', retentionPolicySchema, options.retention);
    this.room = new StorageRoom(options);
    this.#blobs = new BlobKeeper({ ...options, room: this.room });
  }

  /** The storage the bytes are in. Prefer {@link ArtifactRepository.read}, which serves nothing damaged. */
  get storage(): ArtifactStorage {
    return this.#storage;
  }

  /** What is known of a storage that is full; undefined while there is room. New builds wait meanwhile. */
  getStorageFull(): Promise<FullStorage | undefined> {
    return this.room.full();
  }

  /**
   * Stores files that no build makes, such as an initrd or a reference rootfs, under one new producer.
   * @throws `invalid-input` for a filename that is absolute or has `..`; `conflict`, retryable, when the
   * same bytes are being removed at that moment; those of {@link ArtifactStorage.put}.
   */
  async storeArtifacts(files: readonly ArtifactFile[], options: CallOptions = {}): Promise<readonly Artifact[]> {
    for (const { filename } of files) checkFilename(filename);
    const producerId = `upload-${newId(this.#clock, this.#random)}`;
    const stored: (ArtifactFile & BlobInfo)[] = [];
    for (const file of files) {
      const { sha256 } = file;
      const put = { ...options, ...(sha256 !== undefined && { sha256 }) };
      stored.push({ ...file, ...(await this.#blobs.put(producerId, onlyOnce(file), put)) });
    }
    return this.#store.transaction(async (tx) => {
      const artifacts: Artifact[] = [];
      for (const { architecture, metadata = {}, ...file } of stored) {
        artifacts.push(...(await this.record(tx, { producerId, architecture, metadata }, [file])));
      }
      return artifacts;
    });
  }

  /** Stores one file, see {@link ArtifactRepository.storeArtifacts}. */
  async storeArtifact(
    file: Omit<ArtifactFile, 'bytes' | 'metadata' | 'sha256'>,
    bytes: AsyncIterable<Uint8Array>,
    options: CallOptions & Pick<ArtifactFile, 'metadata' | 'sha256'> = {},
  ): Promise<Artifact> {
    const { metadata, sha256, ...call } = options;
    const given = { ...(metadata !== undefined && { metadata }), ...(sha256 !== undefined && { sha256 }) };
    const [artifact] = await this.storeArtifacts([{ ...file, ...given, bytes }], call);
    if (artifact === undefined) throw new TypeError('one artifact was recorded');
    return artifact;
  }

  /**
   * Stores bytes that `holder`, a work item, will record. They stay until it has, or has ended. `source`
   * may be asked for them again.
   * @throws those of {@link ArtifactStorage.put}.
   */
  put(holder: string, source: () => AsyncIterable<Uint8Array>, options: CallOptions = {}): Promise<BlobInfo> {
    return this.#blobs.put(holder, source, options);
  }

  /** The same for bytes whose hash is known: `fill` is called to store them unless they are there. */
  bring(holder: string, blob: BlobInfo, fill: () => Promise<unknown>, options: CallOptions = {}): Promise<void> {
    return this.#blobs.bring(holder, blob, fill, options);
  }

  /** Records files whose bytes are stored. One that the producer has recorded already is replaced. */
  async record(tx: StoreTransaction, origin: ArtifactOrigin, files: readonly NewArtifact[]): Promise<Artifact[]> {
    const recorded: Artifact[] = [];
    for (const file of files) {
      checkFilename(file.filename);
      const { corrupted_at } = await this.#blobs.useIn(tx, origin.producerId, file);
      const values = {
        type: file.type,
        sha256: file.sha256,
        size_bytes: file.sizeBytes,
        architecture: origin.architecture,
        metadata: JSON.stringify(origin.metadata ?? {}),
      };
      const row = await tx.db
        .insertInto('artifacts')
        .values({
          id: newId(this.#clock, this.#random),
          producer_id: origin.producerId,
          build_id: origin.buildId ?? null,
          filename: file.filename,
          created_at: this.#clock.now(),
          ...values,
        })
        .onConflict((c) => c.columns(['producer_id', 'filename']).doUpdateSet(values))
        .returningAll()
        .executeTakeFirstOrThrow();
      const { id, sha256 } = row;
      await tx.emit('artifact:stored', id, {
        id,
        producerId: row.producer_id,
        filename: row.filename,
        sha256,
        sizeBytes: row.size_bytes,
      });
      if (corrupted_at !== null) await tx.emit('artifact:corrupted', id, { id, sha256 });
      recorded.push(this.#view({ ...row, corrupted_at }));
    }
    return recorded;
  }

  /** @throws `artifact-not-found`. */
  async getArtifact(id: string): Promise<Artifact> {
    const row = await artifactRecords(this.#store.db).where('artifacts.id', '=', id).executeTakeFirst();
    if (row === undefined) {
      throw new BringupError('artifact-not-found', `there is no artifact ${id}; it may have been removed`, {
        details: { id },
      });
    }
    return this.#view(row);
  }

  /** Those of the artifacts that are still there, in the order asked for. */
  async getArtifacts(ids: readonly string[]): Promise<readonly Artifact[]> {
    if (ids.length === 0) return [];
    const rows = await artifactRecords(this.#store.db).where('artifacts.id', 'in', ids).execute();
    const found = new Map(rows.map((row) => [row.id, this.#view(row)]));
    return ids.flatMap((id) => found.get(id) ?? []);
  }

  /** What one work item (a build, boot or test run) made, in the order of filenames. */
  async getArtifactsByProducer(producerId: string): Promise<readonly Artifact[]> {
    const rows = await artifactRecords(this.#store.db)
      .where('artifacts.producer_id', '=', producerId)
      .orderBy('artifacts.filename')
      .execute();
    return rows.map((row) => this.#view(row));
  }

  /** What a build made, its log included. */
  getArtifactsByBuild(buildId: string): Promise<readonly Artifact[]> {
    return this.getArtifactsByProducer(buildId);
  }

  /**
   * The artifacts of the latest successful build that fits: of a branch, repository, architecture or tag.
   * @throws as {@link ArtifactRepository.select}.
   */
  async getLatestArtifacts(
    selection: Omit<ArtifactSelection, 'buildId' | 'useLatest'> = {},
  ): Promise<readonly Artifact[]> {
    return (await this.select({ ...selection, useLatest: true })).artifacts;
  }

  /**
   * The finished build a selection means, and what it made. All ways to ask for the same build give the
   * same artifacts. A build with damaged artifacts is passed over for the next one that fits.
   * @throws `artifact-not-found`, whose `details.suggestions` are ids of builds that come near, best first;
   * `artifact-corrupted` when only damaged ones fit; `invalid-input`.
   */
  async select(selection: ArtifactSelection): Promise<SelectedBuild> {
    const build = await findBuild(
      this.#store.db,
      validate('the artifact selection', artifactSelectionSchema, selection),
    );
    return {
      buildId: build.id,
      commitHash: build.commit_hash ?? undefined,
      artifacts: await this.getArtifactsByBuild(build.id),
    };
  }

  /**
   * The bytes of an artifact, verified on the way.
   * @throws `artifact-corrupted` before the first byte when it is known to be damaged, instead of the end
   * when that shows now; those of {@link ArtifactStorage.get}.
   */
  async *read(artifact: Pick<Artifact, 'id'>, options: GetBlobOptions = {}): AsyncGenerator<Uint8Array, void> {
    const { checksumSha256, corruptedAt, filename, id } = await this.getArtifact(artifact.id);
    if (corruptedAt !== undefined) {
      throw new BringupError(
        'artifact-corrupted',
        `the stored bytes of ${filename} are damaged and not served; build or store it again to heal it, or use another build`,
        { details: { id, sha256: checksumSha256 } },
      );
    }
    try {
      yield* this.#storage.get(checksumSha256, options);
    } catch (error) {
      if (isBringupError(error, 'artifact-corrupted', 'artifact-not-found')) {
        await this.#blobs.markCorrupted(checksumSha256);
      }
      throw error;
    }
  }

  /** Reads a stored file as a whole, such as a log. Meant for small files. */
  async readAll(artifact: Pick<Artifact, 'id'>, options: CallOptions = {}): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.read(artifact, options)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /**
   * Reads every byte of an artifact and says whether it still has its hash. One that has not is marked,
   * and served no more until the same bytes are stored again.
   * @throws `artifact-not-found` when there is no such artifact.
   */
  async verifyArtifactIntegrity(id: string, options: CallOptions = {}): Promise<boolean> {
    return this.#blobs.verify((await this.getArtifact(id)).checksumSha256, options);
  }

  /** Keeps a build's artifacts until it is unpinned. @throws `not-found`. */
  pinBuild(buildId: string): Promise<void> {
    return setPinned(this.#store, buildId, true);
  }

  /** Ends {@link ArtifactRepository.pinBuild}. @throws `not-found`. */
  unpinBuild(buildId: string): Promise<void> {
    return setPinned(this.#store, buildId, false);
  }

  /**
   * Gives a build a name, by which it can be selected and for which it is kept. Several builds may have
   * the same tag; the newest is meant. @throws `not-found`, `invalid-input`.
   */
  tagBuild(buildId: string, tag: string): Promise<void> {
    return addTag(this.#store, this.#clock, buildId, tag);
  }

  /** Takes a tag off a build. @throws `not-found`. */
  untagBuild(buildId: string, tag: string): Promise<void> {
    return removeTag(this.#store, buildId, tag);
  }

  /** Ids of the builds that have a tag, newest first. */
  async getBuildsByTag(tag: string): Promise<readonly string[]> {
    const rows = await this.#store.db
      .selectFrom('build_tags')
      .select('build_id')
      .where('tag', '=', tag)
      .orderBy('build_id', 'desc')
      .execute();
    return rows.map((row) => row.build_id);
  }

  /**
   * Removes what a build, boot, test run or upload made; its record stays. Bytes that no other artifact
   * has are removed from the storage.
   * @throws `conflict` while unfinished work uses it; unless `force` is given also while it is deployed,
   * pinned or tagged, or was the last to boot on a target.
   */
  async deleteArtifacts(producerId: string, options: CallOptions & { readonly force?: boolean } = {}): Promise<void> {
    const { force = false, ...call } = options;
    const hashes = await this.#store.transaction(async (tx) => {
      await checkRemovable(tx, producerId, force);
      return (await removeRecords(tx, [producerId], this.#clock.now())).hashes;
    });
    await this.#blobs.removeUnused(hashes, call);
  }

  /**
   * Removes what the retention policy no longer keeps, and blobs that belong to nothing. The lab does
   * this by itself once an hour and when the storage is full. With `dryRun` it only tells.
   * @throws `invalid-input` for a policy that is none.
   */
  async cleanupOldArtifacts(
    options: CallOptions & { readonly dryRun?: boolean; readonly policy?: RetentionPolicy } = {},
  ): Promise<CleanupReport> {
    const { dryRun = false, policy = this.#retention, ...call } = options;
    return cleanUp(
      { store: this.#store, storage: this.#storage, clock: this.#clock, blobs: this.#blobs },
      { dryRun, ...(policy && { policy: validate('the retention policy', retentionPolicySchema, policy) }) },
      call,
    );
  }

  /** Reads the stored bytes that were proven longest ago, until about `maxBytes` were. @returns how many were read. */
  async scrub(maxBytes: number, options: CallOptions = {}): Promise<number> {
    return this.#blobs.scrub(maxBytes, options);
  }

  #view(row: ArtifactRecord): Artifact {
    return toArtifact(row, this.#storage.locate(row.sha256));
  }
}

/** A stream of the caller's: there is no second one. */
function onlyOnce({ filename, bytes }: ArtifactFile): () => AsyncIterable<Uint8Array> {
  let used = false;
  return () => {
    if (used) {
      throw new BringupError('conflict', `the bytes of ${filename} were being removed just now; store it again`, {
        retryable: true,
        details: { filename },
      });
    }
    used = true;
    return bytes;
  };
}
