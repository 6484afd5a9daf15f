import type { Kysely, Selectable, SelectQueryBuilder } from 'kysely';
import type { Architecture } from '../model/architecture.ts';
import type { Artifact, ArtifactType } from '../model/artifact.ts';
import type { ArtifactRow, BlobRow } from '../store/schema/artifacts.ts';
import type { Schema } from '../store/schema.ts';

/** A file to be kept as an artifact; its bytes are in the storage already. */
export interface NewArtifact {
  readonly type: ArtifactType;
  /** Relative path with `/`. */
  readonly filename: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Set when the right bytes could not be had: it is recorded, and never served. */
  readonly corrupted?: boolean;
}

/** Where an artifact comes from. */
export interface ArtifactOrigin {
  readonly producerId: string;
  readonly buildId?: string;
  readonly architecture: Architecture;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A row of an artifact with the state of its bytes. */
export type ArtifactRecord = Selectable<ArtifactRow> & Pick<Selectable<BlobRow>, 'corrupted_at'>;

/** Selects artifacts and the state of their bytes. */
export function artifactRecords(
  db: Kysely<Schema>,
): SelectQueryBuilder<Schema & { artifacts: ArtifactRow }, 'artifacts' | 'blobs', ArtifactRecord> {
  return db
    .selectFrom('artifacts')
    .innerJoin('blobs', 'blobs.sha256', 'artifacts.sha256')
    .selectAll('artifacts')
    .select('blobs.corrupted_at');
}

/** The record as users see it. */
export function toArtifact(row: ArtifactRecord, path: string | undefined): Artifact {
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
    ...(row.corrupted_at !== null && { corruptedAt: row.corrupted_at }),
    createdAt: row.created_at,
  };
}
