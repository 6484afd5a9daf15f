import type { CallOptions } from './runtime.ts';

/** A blob: bytes known by their hash. */
export interface BlobInfo {
  /** Lower-case hex SHA-256. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Options of {@link ArtifactStorage.put}. */
export interface PutBlobOptions extends CallOptions {
  /** What the bytes must hash to; otherwise nothing is stored and `checksum-mismatch` is thrown. */
  readonly sha256?: string;
}

/** Options of {@link ArtifactStorage.get}. */
export interface GetBlobOptions extends CallOptions {
  /** First byte. Default 0. */
  readonly offset?: number;
  /** Number of bytes. Default: to the end. */
  readonly length?: number;
}

/**
 * Where artifact bytes are kept, by their SHA-256. Two puts of the same bytes store them once.
 * Reads of a whole blob are verified: the iteration throws `artifact-corrupted` instead of ending
 * when the bytes no longer have their hash.
 */
export interface ArtifactStorage extends AsyncDisposable {
  /**
   * Stores a stream. When it resolves, the bytes are durable; when it rejects or the process dies,
   * nothing of them can be found.
   * @throws `checksum-mismatch`, `storage-full`, `aborted`, `deadline-exceeded`.
   */
  put(bytes: AsyncIterable<Uint8Array>, options?: PutBlobOptions): Promise<BlobInfo>;
  /** The bytes of a blob. @throws `artifact-not-found` before the first chunk, `artifact-corrupted` instead of the end. */
  get(sha256: string, options?: GetBlobOptions): AsyncIterable<Uint8Array>;
  /** Size of a blob, or undefined when it is not stored. */
  stat(sha256: string, options?: CallOptions): Promise<BlobInfo | undefined>;
  /** Removes a blob. One that is not stored is fine too. */
  delete(sha256: string, options?: CallOptions): Promise<void>;
  /** All blobs, in no particular order. */
  list(options?: CallOptions): AsyncIterable<BlobInfo>;
  /** Bytes that can still be stored; undefined where that can't be known. */
  freeBytes(options?: CallOptions): Promise<number | undefined>;
  /** Where a person finds the blob (a path or URL); undefined where there is no such place. */
  locate(sha256: string): string | undefined;
}
