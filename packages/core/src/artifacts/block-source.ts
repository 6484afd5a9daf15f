import { FileBytes, type FileReader } from '../local/file-bytes.ts';

/** Bytes that a writer takes into blocks of its own. One fill at a time. */
export interface BlockSource {
  /** Puts the next bytes at the start of `room`, which must not be empty. @returns how many, 0 at the end. */
  fill(room: Uint8Array): Promise<number>;
  /** Lets go of what the bytes come from. */
  end(): Promise<void>;
}

/** A file is read straight into the blocks; the chunks of anything else are copied. */
export function blockSource(bytes: AsyncIterable<Uint8Array>): BlockSource {
  return bytes instanceof FileBytes ? new FileBlocks(bytes) : new ChunkBlocks(bytes);
}

class FileBlocks implements BlockSource {
  readonly #bytes: FileBytes;
  #opening: Promise<FileReader> | undefined;

  constructor(bytes: FileBytes) {
    this.#bytes = bytes;
  }

  async fill(room: Uint8Array): Promise<number> {
    this.#opening ??= this.#bytes.reader();
    return await (await this.#opening).read(room);
  }

  async end(): Promise<void> {
    const reader = await this.#opening?.catch(() => undefined);
    await reader?.[Symbol.asyncDispose]();
  }
}

class ChunkBlocks implements BlockSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  /** What of the last chunk found no room yet. */
  #rest: Uint8Array = new Uint8Array();
  #ended = false;

  constructor(bytes: AsyncIterable<Uint8Array>) {
    this.#chunks = bytes[Symbol.asyncIterator]();
  }

  async fill(room: Uint8Array): Promise<number> {
    while (this.#rest.byteLength === 0) {
      const { done, value } = await this.#chunks.next();
      if (done === true) {
        this.#ended = true;
        return 0;
      }
      if (!(value instanceof Uint8Array))
        throw new TypeError('an artifact is stored from chunks of bytes (Uint8Array)');
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, room.byteLength);
    room.set(part);
    this.#rest = this.#rest.subarray(part.byteLength);
    return part.byteLength;
  }

  async end(): Promise<void> {
    if (!this.#ended) await this.#chunks.return?.();
  }
}
