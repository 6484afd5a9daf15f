import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { BlobInfo } from '../contracts/artifact-storage.ts';
import { limits } from '../limits.ts';
import { blockSource } from './block-source.ts';

/** What {@link writeHashed} needs of the storage it works for. */
export interface HashedWrite {
  readonly file: FileHandle;
  /**
   * Opens the file once more, to write past the system's cache (`O_DIRECT`); undefined where that can't be
   * done. It is closed here.
   */
  readonly openPastCache: () => Promise<FileHandle | undefined>;
  /** Waits for the source; rejects when the call has to end. */
  readonly untilCut: <T>(step: Promise<T>) => Promise<T>;
  /** Waits for an operation of the disk: as `untilCut`, with the disk's own bound and errors. */
  readonly disk: <T>(what: string, step: Promise<T>) => Promise<T>;
}

/**
 * Writes a stream to a file and flushes it, hashing on the way. The next bytes are asked for before
 * those at hand are hashed, and full blocks are written meanwhile: source, hash and disk work at the
 * same time.
 */
export async function writeHashed(
  bytes: AsyncIterable<Uint8Array>,
  { file, openPastCache, untilCut, disk }: HashedWrite,
): Promise<BlobInfo> {
  const hash = createHash('sha256');
  const source = blockSource(bytes);
  const writer = new BlockWriter(file, openPastCache, disk);
  try {
    let room = await writer.room(0);
    for (let step = source.fill(room); ;) {
      const filled = await untilCut(step);
      if (filled === 0) break;
      const part = room.subarray(0, filled);
      room = await writer.room(filled);
      step = watched(source.fill(room));
      hash.update(part);
    }
    return { sizeBytes: await writer.end(), sha256: hash.digest('hex') };
  } finally {
    // Not awaited: a source that is stuck in a read ends only after that read.
    source.end().catch(() => undefined);
    writer.close().catch(() => undefined);
  }
}

interface Block {
  readonly bytes: Buffer;
  written: Promise<void>;
}

/** A ring of blocks: one is filled while those before it are written, and flushed now and then. */
class BlockWriter {
  readonly #file: FileHandle;
  readonly #openPastCache: HashedWrite['openPastCache'];
  #pastCache: Promise<FileHandle | undefined> | undefined;
  readonly #disk: HashedWrite['disk'];
  #block: Block;
  /** The others, the one that was written first at the start. */
  readonly #resting: Block[];
  #filled = 0;
  #sizeBytes = 0;
  /** What was written to the system's cache since the last flush began. */
  #cachedBytes = 0;
  #flushing: Promise<void> = Promise.resolve();

  constructor(file: FileHandle, openPastCache: HashedWrite['openPastCache'], disk: HashedWrite['disk']) {
    this.#file = file;
    this.#openPastCache = openPastCache;
    this.#disk = disk;
    this.#block = newBlock();
    this.#resting = Array.from({ length: limits.artifactBlocks - 1 }, newBlock);
  }

  /** Takes the next `filled` bytes of the room given last. @returns the room for those that follow. */
  async room(filled: number): Promise<Uint8Array> {
    this.#filled += filled;
    if (this.#filled === limits.artifactBlockBytes) await this.#writeBlock();
    return this.#block.bytes.subarray(this.#filled);
  }

  /** Everything is on the disk. @returns how much that was. */
  async end(): Promise<number> {
    if (this.#filled > 0) await this.#writeBlock();
    for (const { written } of this.#resting) await this.#disk('writing', written);
    await this.#disk('flushing', this.#flushing);
    await this.#disk('flushing', this.#file.datasync());
    return this.#sizeBytes;
  }

  /** Begins to write the filled block, and waits for the one that is filled next. */
  async #writeBlock(): Promise<void> {
    const filled = this.#block.bytes.subarray(0, this.#filled);
    this.#block.written = watched(this.#write(filled, this.#sizeBytes));
    this.#sizeBytes += this.#filled;
    this.#filled = 0;
    this.#resting.push(this.#block);
    this.#block = this.#resting.shift() ?? this.#block;
    await this.#disk('writing', this.#block.written);
    if (this.#cachedBytes >= limits.artifactFlushBytes) {
      await this.#disk('flushing', this.#flushing);
      this.#flushing = watched(this.#file.datasync());
      this.#cachedBytes = 0;
    }
  }

  async #write(block: Uint8Array, position: number): Promise<void> {
    const isFull = block.byteLength === limits.artifactBlockBytes;
    if (isFull && position >= limits.artifactCachedBytes) this.#pastCache ??= this.#openPastCache();
    const pastCache = isFull ? await this.#pastCache : undefined;
    const written = pastCache === undefined ? 0 : await writePastCache(pastCache, block, position);
    this.#cachedBytes += block.byteLength - written;
    await writeFully(this.#file, block.subarray(written), position + written);
  }

  /** Closes what it has opened, after the writes that are under way. */
  async close(): Promise<void> {
    await (await this.#pastCache)?.close();
  }
}

function newBlock(): Block {
  // V8 lets a buffer that could grow begin with a page of memory. Writes past the cache must.
  const memory = new ArrayBuffer(limits.artifactBlockBytes, { maxByteLength: limits.artifactBlockBytes });
  return { bytes: Buffer.from(memory), written: Promise.resolve() };
}

/** Writes what it can without the system's cache. @returns how much: none where the file system or its disk wants it otherwise. */
async function writePastCache(file: FileHandle, block: Uint8Array, position: number): Promise<number> {
  try {
    return (await file.write(block, 0, block.byteLength, position)).bytesWritten;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return 0;
    throw error;
  }
}

async function writeFully(file: FileHandle, block: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < block.byteLength;) {
    const { bytesWritten } = await file.write(block, at, block.byteLength - at, position + at);
    at += bytesWritten;
  }
}

/** Keeps a failure that is looked at later from counting as unhandled meanwhile. */
function watched<T>(step: Promise<T>): Promise<T> {
  step.catch(() => undefined);
  return step;
}
