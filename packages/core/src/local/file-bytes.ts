import { type FileHandle, open } from 'node:fs/promises';
import { limits } from '../limits.ts';

/**
 * The bytes of a file of this machine, from an offset to its end: in chunks of their own for who
 * iterates, or straight into the reader's buffers, which spares large files a copy.
 */
export class FileBytes implements AsyncIterable<Uint8Array> {
  readonly #path: string;
  readonly #offset: number;
  readonly #failure: (error: unknown) => Error;

  /** `failure` says what an error of the file system means. */
  constructor(path: string, offset: number, failure: (error: unknown) => Error) {
    this.#path = path;
    this.#offset = offset;
    this.#failure = failure;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    try {
      await using file = await open(this.#path, 'r');
      yield* fileChunks(file, this.#offset);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Opens the file for a reader with buffers. */
  async reader(): Promise<FileReader> {
    try {
      return new FileReader(await open(this.#path, 'r'), this.#offset, this.#failure);
    } catch (error) {
      throw this.#failure(error);
    }
  }
}

/** An open file that is read from its start to its end into buffers. */
export class FileReader implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #failure: (error: unknown) => Error;
  #at: number;

  constructor(file: FileHandle, offset: number, failure: (error: unknown) => Error) {
    this.#file = file;
    this.#at = offset;
    this.#failure = failure;
  }

  /** Reads the next bytes into a buffer. @returns how many, 0 at the end. */
  async read(buffer: Uint8Array): Promise<number> {
    try {
      const { bytesRead } = await this.#file.read(buffer, 0, buffer.byteLength, this.#at);
      this.#at += bytesRead;
      return bytesRead;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Closes the file, after a read that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }
}

/**
 * The bytes of an open file from `offset` to its end. Reads say their position, so one that is still
 * under way when the file is closed can't move the position of the file that gets its number next.
 */
export async function* fileChunks(file: FileHandle, offset = 0): AsyncGenerator<Uint8Array> {
  for (let at = offset; ;) {
    const buffer = Buffer.allocUnsafe(limits.fileChunkBytes);
    const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
