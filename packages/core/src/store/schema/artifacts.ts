/** Stored files and who counts on them. */
export interface ArtifactTables {
  artifacts: ArtifactRow;
  blobs: BlobRow;
  blob_claims: BlobClaimRow;
}

/** A stored file; its bytes are in the artifact storage under the hash. */
export interface ArtifactRow {
  id: string;
  /** Work item that made it: a build, a boot or a test run. */
  producer_id: string;
  build_id: string | null;
  type: string;
  filename: string;
  sha256: string;
  size_bytes: number;
  architecture: string;
  metadata: string;
  created_at: number;
}

/** Bytes in the artifact storage, which any number of artifacts may share. */
export interface BlobRow {
  sha256: string;
  size_bytes: number;
  /** When the stored bytes were last proven to have their hash. */
  verified_at: number;
  /** Since when they are known to be damaged or missing; null while they are served. */
  corrupted_at: number | null;
  /** Since when nothing is known to need them; null while something does. */
  unused_since: number | null;
  /** Set while they are being removed from the storage: nobody may count on them. */
  doomed_at: number | null;
}

/** Somebody counts on stored bytes without having recorded an artifact yet. */
export interface BlobClaimRow {
  sha256: string;
  /** A work item, whose end ends the claim; or any name, whose claim ends with its time. */
  holder: string;
  created_at: number;
}
