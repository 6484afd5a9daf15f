import type { Selectable } from 'kysely';
import type { ArtifactStorage, GetBlobOptions } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Artifact, ArtifactSelection, ArtifactType } from '../model/artifact.ts';
import { newId } from '../runtime.ts';
import type { ArtifactRow } from '../store/schema.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

/** A file to be kept as an artifact; its bytes are in the storage already. */
export interface NewArtifact {
  readonly type: ArtifactType;
  /** Relative path with `/`. */
  readonly filename: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Where an artifact comes from. */
export interface ArtifactOrigin {
  readonly producerId: string;
  readonly buildId?: string;
  readonly architecture: Architecture;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** The artifacts of the lab: bytes in the storage, what they are in the store. */
export class ArtifactRepository {
  readonly #store: Store;
  readonly #storage: ArtifactStorage;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: { store: Store; storage: ArtifactStorage; clock: Clock; random: Random }) {
    this.#store = options.store;
    this.#storage = options.storage;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** The storage the bytes are in. */
  get storage(): ArtifactStorage {
    return this.#storage;
  }

  /**
   * Stores a file that no build makes, such as an initrd or a reference rootfs.
   * @throws `invalid-input` for a filename that is absolute or has `..`; those of the storage.
   */
  async storeArtifact(
    file: { readonly type: ArtifactType; readonly filename: string; readonly architecture: Architecture },
    bytes: AsyncIterable<Uint8Array>,
    options: CallOptions & { readonly metadata?: Readonly<Record<string, string>> } = {},
  ): Promise<Artifact> {
    checkFilename(file.filename);
    const blob = await this.#storage.put(bytes, options);
    const origin: ArtifactOrigin = {
      producerId: `upload-${newId(this.#clock, this.#random)}`,
      architecture: file.architecture,
      ...(options.metadata !== undefined && { metadata: options.metadata }),
    };
    const [artifact] = await this.#store.transaction((tx) =>
      this.record(tx, origin, [{ type: file.type, filename: file.filename, ...blob }]),
    );
    if (artifact === undefined) throw new TypeError('one artifact was recorded');
    return artifact;
  }

  /** Records files whose bytes are stored. One that the producer has recorded already is replaced. */
  async record(tx: StoreTransaction, origin: ArtifactOrigin, files: readonly NewArtifact[]): Promise<Artifact[]> {
    const recorded: Artifact[] = [];
    for (const file of files) {
      checkFilename(file.filename);
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
      await tx.emit('artifact:stored', row.id, {
        id: row.id,
        producerId: row.producer_id,
        filename: row.filename,
        sha256: row.sha256,
        sizeBytes: row.size_bytes,
      });
      recorded.push(this.#view(row));
    }
    return recorded;
  }

  /** @throws `artifact-not-found`. */
  async getArtifact(id: string): Promise<Artifact> {
    const row = await this.#store.db.selectFrom('artifacts').selectAll().where('id', '=', id).executeTakeFirst();
    if (row === undefined) {
      throw new BringupError('artifact-not-found', `there is no artifact ${id}`, { details: { id } });
    }
    return this.#view(row);
  }

  /** Those of the artifacts that are still there, in the order asked for. */
  async getArtifacts(ids: readonly string[]): Promise<readonly Artifact[]> {
    if (ids.length === 0) return [];
    const rows = await this.#store.db.selectFrom('artifacts').selectAll().where('id', 'in', ids).execute();
    const found = new Map(rows.map((row) => [row.id, this.#view(row)]));
    return ids.flatMap((id) => found.get(id) ?? []);
  }

  /** What one work item (a build, boot or test run) made, in the order of filenames. */
  async getArtifactsByProducer(producerId: string): Promise<readonly Artifact[]> {
    const rows = await this.#store.db
      .selectFrom('artifacts')
      .selectAll()
      .where('producer_id', '=', producerId)
      .orderBy('filename')
      .execute();
    return rows.map((row) => this.#view(row));
  }

  /** What a build made, its log included. */
  getArtifactsByBuild(buildId: string): Promise<readonly Artifact[]> {
    return this.getArtifactsByProducer(buildId);
  }

  /**
   * The finished build a selection means, and what it made. The three ways to ask for the same
   * build give the same artifacts.
   * @throws `artifact-not-found`, naming builds that exist; `invalid-input` for an empty selection.
   */
  async select(
    selection: ArtifactSelection,
  ): Promise<{
    readonly buildId: string;
    readonly commitHash: string | undefined;
    readonly artifacts: readonly Artifact[];
  }> {
    const { buildId, commitHash, branch, sourceRepository, architecture } = selection;
    if (buildId === undefined && commitHash === undefined && branch === undefined) {
      throw invalidInput('the artifact selection', [{ path: '', message: 'set buildId, commitHash or branch' }]);
    }
    let query = this.#store.db
      .selectFrom('builds')
      .select(['id', 'commit_hash'])
      .where('succeeded_at', 'is not', null)
      .orderBy('succeeded_at', 'desc')
      .orderBy('id', 'desc')
      .limit(1);
    if (buildId !== undefined) query = query.where('id', '=', buildId);
    else if (commitHash !== undefined) query = query.where('commit_hash', '=', commitHash);
    else query = query.where('branch', '=', branch ?? '');
    if (sourceRepository !== undefined) query = query.where('repository', '=', sourceRepository);
    if (architecture !== undefined && buildId === undefined) query = query.where('architecture', '=', architecture);
    const build = await query.executeTakeFirst();
    if (build === undefined) throw await this.#noBuild(selection);
    return {
      buildId: build.id,
      commitHash: build.commit_hash ?? undefined,
      artifacts: await this.getArtifactsByBuild(build.id),
    };
  }

  async #noBuild(selection: ArtifactSelection): Promise<BringupError> {
    const others = await this.#store.db
      .selectFrom('builds')
      .select(['id', 'branch', 'commit_hash', 'architecture'])
      .where('succeeded_at', 'is not', null)
      .orderBy('succeeded_at', 'desc')
      .limit(5)
      .execute();
    const asked = Object.entries(selection)
      .map(([key, value]) => `${key} ${String(value)}`)
      .join(', ');
    const known = others.map((b) => `${b.id} (${b.branch}, ${b.commit_hash?.slice(0, 12) ?? '?'}, ${b.architecture})`);
    return new BringupError(
      'artifact-not-found',
      `no successful build for ${asked}; ${known.length === 0 ? 'there is none yet' : `the latest are ${known.join(', ')}`}`,
      { details: { selection: { ...selection }, suggestions: others.map((build) => build.id) } },
    );
  }

  /** The bytes of an artifact, verified on the way. @throws those of {@link ArtifactStorage.get}. */
  async *read(artifact: Artifact, options: GetBlobOptions = {}): AsyncIterable<Uint8Array> {
    yield* this.#storage.get(artifact.checksumSha256, options);
  }

  /** Reads a stored file as a whole, such as a log. Meant for small files. */
  async readAll(artifact: Artifact, options: CallOptions = {}): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of this.read(artifact, options)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  /** Reads every byte of an artifact and says whether it still has its hash. */
  async verifyArtifactIntegrity(id: string, options: CallOptions = {}): Promise<boolean> {
    const artifact = await this.getArtifact(id);
    try {
      for await (const _chunk of this.#storage.get(artifact.checksumSha256, options));
      return true;
    } catch (error) {
      if (!(error instanceof BringupError) || !['artifact-corrupted', 'artifact-not-found'].includes(error.code)) {
        throw error;
      }
      await this.#store.transaction((tx) =>
        tx.emit('artifact:corrupted', artifact.id, { id: artifact.id, sha256: artifact.checksumSha256 }),
      );
      return false;
    }
  }

  /** Forgets what a build made; bytes that no other artifact has are removed from the storage. */
  async deleteArtifacts(producerId: string, options: CallOptions = {}): Promise<void> {
    const gone = await this.#store.transaction(async ({ db }) => {
      const removed = await db
        .deleteFrom('artifacts')
        .where('producer_id', '=', producerId)
        .returning('sha256')
        .execute();
      await db.updateTable('builds').set({ succeeded_at: null }).where('id', '=', producerId).execute();
      const hashes = [...new Set(removed.map((row) => row.sha256))];
      const kept =
        hashes.length === 0
          ? []
          : await db.selectFrom('artifacts').select('sha256').where('sha256', 'in', hashes).execute();
      return hashes.filter((hash) => !kept.some((row) => row.sha256 === hash));
    });
    for (const sha256 of gone) await this.#storage.delete(sha256, options);
  }

  #view(row: Selectable<ArtifactRow>): Artifact {
    const path = this.#storage.locate(row.sha256);
    return {
      id: row.id,
      producerId: row.producer_id,
      ...(row.build_id !== null && { buildId: row.build_id }),
      artifactType: row.type as ArtifactType,
      filename: row.filename,
      ...(path !== undefined && { path }),
      sizeBytes: row.size_bytes,
      checksumSha256: row.sha256,
      architecture: row.architecture as Architecture,
      metadata: JSON.parse(row.metadata) as Record<string, string>,
      createdAt: row.created_at,
    };
  }
}

/** Refuses names that could leave a folder they are put under. @throws `invalid-input`. */
export function checkFilename(filename: string): void {
  const parts = filename.split('/');
  const bad =
    filename === '' ||
    filename.length > limits.maxFilenameChars ||
    parts.some((part) => part === '' || part === '.' || part === '..') ||
    /[\u0000-\u001f\u007f\\]/.test(filename);
  if (!bad) return;
  throw invalidInput('the artifact', [
    { path: 'filename', message: 'must be a relative path without .., backslashes or control characters' },
  ]);
}
