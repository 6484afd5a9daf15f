import { createHash } from 'node:crypto';
import { blobCorrupted, blobMismatch, blobNotFound, checkRead, checkSha256, clipRange } from '../artifacts/blob.ts';
import type { ArtifactStorage, BlobInfo, GetBlobOptions, PutBlobOptions } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { startDeadline, type Deadline } from '../local/deadline.ts';
import { systemClock } from '../runtime.ts';

/** What {@link memoryArtifactStorage} takes. */
export interface MemoryArtifactStorageOptions {
  /** Bytes that fit in; more fail with `storage-full`. Default: no bound. */
  readonly capacityBytes?: number;
  /** Time for deadlines. Default: the machine's. */
  readonly clock?: Clock;
}

/** An artifact storage in memory, with the troubles of a real one at hand. */
export interface MemoryArtifactStorage extends ArtifactStorage {
  /** Flips a bit of a stored blob, as a failing disk does. @throws `artifact-not-found`. */
  corrupt(sha256: string): void;
  /** Changes the number of bytes that fit in; undefined lifts the bound. */
  setCapacity(capacityBytes: number | undefined): void;
}

/** Keeps artifacts in memory, for tests and simulated labs. As strict as the real storages. */
export function memoryArtifactStorage(options: MemoryArtifactStorageOptions = {}): MemoryArtifactStorage {
  return new InMemory(options.capacityBytes, options.clock ?? systemClock);
}

const chunkBytes = 64 * 1024;

class InMemory implements MemoryArtifactStorage {
  readonly #blobs = new Map<string, Buffer>();
  readonly #clock: Clock;
  readonly #life = new AbortController();
  #capacityBytes: number | undefined;
  /** Bytes of puts under way: they take room too. */
  #unfinishedBytes = 0;

  constructor(capacityBytes: number | undefined, clock: Clock) {
    this.#capacityBytes = capacityBytes;
    this.#clock = clock;
  }

  async put(bytes: AsyncIterable<Uint8Array>, options: PutBlobOptions = {}): Promise<BlobInfo> {
    if (options.sha256 !== undefined) checkSha256(options.sha256);
    const deadline = this.#start('storing an artifact', options);
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const source = bytes[Symbol.asyncIterator]();
    let ended = false;
    try {
      for (;;) {
        const { done, value } = await deadline.race(source.next());
        if (done === true) break;
        if (!(value instanceof Uint8Array))
          throw new TypeError('an artifact is stored from chunks of bytes (Uint8Array)');
        this.#takeRoom(value.byteLength);
        sizeBytes += value.byteLength;
        chunks.push(Buffer.from(value));
      }
      ended = true;
      const blob = Buffer.concat(chunks);
      const sha256 = createHash('sha256').update(blob).digest('hex');
      if (options.sha256 !== undefined && sha256 !== options.sha256) throw blobMismatch(options.sha256, sha256);
      this.#blobs.set(sha256, blob);
      return { sha256, sizeBytes };
    } finally {
      this.#unfinishedBytes -= sizeBytes;
      deadline[Symbol.dispose]();
      if (!ended) source.return?.().catch(() => undefined);
    }
  }

  async *get(sha256: string, options: GetBlobOptions = {}): AsyncGenerator<Uint8Array, void> {
    checkRead(sha256, options);
    const deadline = this.#start('reading an artifact', options);
    try {
      const blob = this.#blobs.get(sha256);
      if (blob === undefined) throw blobNotFound(sha256);
      const { start, end } = clipRange(options, blob.byteLength);
      for (let at = start; at < end; at += chunkBytes) {
        yield Buffer.from(blob.subarray(at, Math.min(at + chunkBytes, end)));
        await deadline.race(Promise.resolve());
      }
      const isWhole = (options.offset ?? 0) === 0 && end === blob.byteLength;
      if (isWhole && createHash('sha256').update(blob).digest('hex') !== sha256) throw blobCorrupted(sha256, 'memory');
    } finally {
      deadline[Symbol.dispose]();
    }
  }

  async stat(sha256: string, options: CallOptions = {}): Promise<BlobInfo | undefined> {
    checkSha256(sha256);
    this.#start('looking up an artifact', options)[Symbol.dispose]();
    const blob = this.#blobs.get(sha256);
    return blob === undefined ? undefined : { sha256, sizeBytes: blob.byteLength };
  }

  async delete(sha256: string, options: CallOptions = {}): Promise<void> {
    checkSha256(sha256);
    this.#start('deleting an artifact', options)[Symbol.dispose]();
    this.#blobs.delete(sha256);
  }

  async *list(options: CallOptions = {}): AsyncGenerator<BlobInfo, void> {
    const deadline = this.#start('listing the artifacts', options);
    try {
      for (const [sha256, blob] of [...this.#blobs]) {
        yield { sha256, sizeBytes: blob.byteLength };
        await deadline.race(Promise.resolve());
      }
    } finally {
      deadline[Symbol.dispose]();
    }
  }

  async freeBytes(options: CallOptions = {}): Promise<number | undefined> {
    this.#start('asking for free space', options)[Symbol.dispose]();
    return this.#capacityBytes === undefined ? undefined : Math.max(0, this.#capacityBytes - this.#usedBytes());
  }

  locate(sha256: string): undefined {
    checkSha256(sha256);
  }

  corrupt(sha256: string): void {
    checkSha256(sha256);
    const blob = this.#blobs.get(sha256);
    if (blob === undefined) throw blobNotFound(sha256);
    const damaged = blob.byteLength === 0 ? Buffer.from([0]) : Buffer.from(blob);
    damaged[0] = (damaged[0] ?? 0) ^ 1;
    this.#blobs.set(sha256, damaged);
  }

  setCapacity(capacityBytes: number | undefined): void {
    this.#capacityBytes = capacityBytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new BringupError('aborted', 'the artifact storage in memory was closed'));
  }

  #start(what: string, options: CallOptions): Deadline {
    if (this.#life.signal.aborted) throw new TypeError('the artifact storage in memory is closed');
    return startDeadline(this.#clock, what, options, this.#life.signal);
  }

  #usedBytes(): number {
    let used = this.#unfinishedBytes;
    for (const blob of this.#blobs.values()) used += blob.byteLength;
    return used;
  }

  #takeRoom(sizeBytes: number): void {
    if (this.#capacityBytes !== undefined && this.#usedBytes() + sizeBytes > this.#capacityBytes) {
      throw new BringupError('storage-full', 'the artifact storage in memory is full; delete artifacts nobody needs', {
        details: { capacityBytes: this.#capacityBytes },
      });
    }
    this.#unfinishedBytes += sizeBytes;
  }
}
