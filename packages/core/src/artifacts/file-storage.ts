import { constants } from 'node:fs';
import { mkdir, open, readdir, rename, stat, statfs, unlink, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { withDeadline } from '../async.ts';
import type { ArtifactStorage, BlobInfo, GetBlobOptions, PutBlobOptions } from '../contracts/artifact-storage.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { settledWithin, startDeadline, type Deadline } from '../local/deadline.ts';
import { systemClock } from '../runtime.ts';
import { blobCorrupted, blobMismatch, blobNotFound, checkRead, checkSha256, clipRange, isSha256 } from './blob.ts';
import { writeHashed } from './hashed-write.ts';
import { leftoverName, removeLeftovers } from './leftovers.ts';
import { Puts } from './puts.ts';
import { readVerified } from './verified-read.ts';

/** What {@link fileArtifactStorage} takes. */
export interface FileArtifactStorageOptions {
  /** Folder for the artifacts, on a local or network file system; made when missing. */
  readonly path: string;
  /** Time for deadlines. Default: the machine's. */
  readonly clock?: Clock;
}

/**
 * Keeps artifacts as files named by their content: `sha256/ab/cdef…` below the folder. Any number
 * of processes and machines may share one. An artifact is written under `tmp/`, flushed, and only
 * then renamed to its place; storing one that is there already heals it should it be damaged.
 * What writers that died left under `tmp/` is removed before the first put.
 *
 * Without `timeoutMs`, puts and gets take as long as their source or reader does, while each single
 * read, write and flush is bounded by `limits.storageStallMs`. A disk in trouble is `store-failed`.
 *
 * @example
 * ```ts
 * await using storage = fileArtifactStorage({ path: '/srv/bringup/artifacts' });
 * const { sha256 } = await storage.put(createReadStream('arch/x86/boot/bzImage'));
 * ```
 */
export function fileArtifactStorage(options: FileArtifactStorageOptions): ArtifactStorage {
  return new FileArtifactStorage(path.resolve(options.path), options.clock ?? systemClock);
}

class FileArtifactStorage implements ArtifactStorage {
  readonly #root: string;
  readonly #clock: Clock;
  readonly #life = new AbortController();
  readonly #puts: Puts;
  #prepared: Promise<void> | undefined;

  constructor(root: string, clock: Clock) {
    this.#root = root;
    this.#clock = clock;
    this.#puts = new Puts(clock);
  }

  async put(bytes: AsyncIterable<Uint8Array>, options: PutBlobOptions = {}): Promise<BlobInfo> {
    if (options.sha256 !== undefined) checkSha256(options.sha256);
    const deadline = this.#start('storing an artifact', options);
    return this.#puts.finish(deadline, this.#store(bytes, options.sha256, deadline));
  }

  async *get(sha256: string, options: GetBlobOptions = {}): AsyncGenerator<Uint8Array, void> {
    checkRead(sha256, options);
    const deadline = this.#start('reading an artifact', options);
    let opening: Promise<FileHandle> | undefined;
    try {
      const disk = this.#disk(deadline);
      opening = openBlob(this.#file(sha256), sha256);
      const file = await disk('opening', opening);
      const { size } = await disk('reading', file.stat());
      const { start, end } = clipRange(options, size);
      const isWhole = (options.offset ?? 0) === 0 && end === size;
      const corrupted = (): Error => blobCorrupted(sha256, this.#file(sha256));
      for await (const block of readVerified({
        file,
        start,
        end,
        disk,
        corrupted,
        sha256: isWhole ? sha256 : undefined,
      })) {
        deadline.signal.throwIfAborted();
        yield block;
        deadline.signal.throwIfAborted();
      }
    } finally {
      deadline[Symbol.dispose]();
      // A call that was cut short may leave before its file is open.
      if (opening !== undefined) await settledWithin(this.#clock, limits.killGraceMs, closeOpened(opening));
    }
  }

  async stat(sha256: string, options: CallOptions = {}): Promise<BlobInfo | undefined> {
    checkSha256(sha256);
    return await this.#call('looking up an artifact', options, () => this.#info(sha256));
  }

  async delete(sha256: string, options: CallOptions = {}): Promise<void> {
    checkSha256(sha256);
    await this.#call('deleting an artifact', options, async () => {
      const file = this.#file(sha256);
      try {
        await unlink(file);
      } catch (error) {
        if (isMissing(error)) return;
        throw error;
      }
      await flushFolder(path.dirname(file));
    });
  }

  async *list(options: CallOptions = {}): AsyncGenerator<BlobInfo, void> {
    const deadline = this.#start('listing the artifacts', options);
    const disk = this.#disk(deadline);
    try {
      for (const folder of await disk('listing', namesIn(path.join(this.#root, 'sha256')))) {
        if (!/^[0-9a-f]{2}$/.test(folder)) continue;
        for (const rest of await disk('listing', namesIn(path.join(this.#root, 'sha256', folder)))) {
          const info = isSha256(folder + rest) ? await disk('listing', this.#info(folder + rest)) : undefined;
          if (info !== undefined) yield info;
          deadline.signal.throwIfAborted();
        }
      }
    } finally {
      deadline[Symbol.dispose]();
    }
  }

  async freeBytes(options: CallOptions = {}): Promise<number> {
    return await this.#call('asking for free space', options, async () => {
      await this.#prepare();
      const { bavail, bsize } = await statfs(this.#root);
      return bavail * bsize;
    });
  }

  locate(sha256: string): string {
    checkSha256(sha256);
    return this.#file(sha256);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new BringupError('aborted', `the artifact storage at ${this.#root} was closed`));
    await this.#puts.settled();
  }

  /** Does a put's work; when it rejects, nothing of it is left. */
  async #store(bytes: AsyncIterable<Uint8Array>, expected: string | undefined, deadline: Deadline): Promise<BlobInfo> {
    const disk = this.#disk(deadline);
    await disk('preparing', this.#prepare());
    const unfinished = path.join(this.#root, 'tmp', await leftoverName());
    const opening = open(unfinished, 'wx', 0o444);
    try {
      const file = await disk('opening', opening);
      const info = await writeHashed(bytes, {
        file,
        openPastCache: () => openPastCache(file, unfinished),
        disk,
        untilCut: (step) => deadline.race(step),
      });
      if (expected !== undefined && info.sha256 !== expected) throw blobMismatch(expected, info.sha256);
      await disk('closing', file.close());
      deadline.signal.throwIfAborted();
      await this.#publish(unfinished, info.sha256).catch((error: unknown) => {
        throw this.#failure(error);
      });
      return info;
    } catch (error) {
      // Somebody may have emptied the folder: the next put makes its folders again.
      if (!(await closeOpened(opening))) this.#prepared = undefined;
      await unlink(unfinished).catch(() => undefined);
      throw error;
    }
  }

  async #publish(unfinished: string, sha256: string): Promise<void> {
    const file = this.#file(sha256);
    const folder = path.dirname(file);
    const made = await mkdir(folder, { recursive: true });
    if (made !== undefined) await flushFolder(path.dirname(folder));
    await rename(unfinished, file);
    await flushFolder(folder);
  }

  #prepare(): Promise<void> {
    this.#prepared ??= (async () => {
      const unfinished = path.join(this.#root, 'tmp');
      await mkdir(unfinished, { recursive: true });
      await mkdir(path.join(this.#root, 'sha256'), { recursive: true });
      await flushFolder(this.#root);
      await removeLeftovers(unfinished, this.#clock);
    })().catch((error: unknown) => {
      this.#prepared = undefined;
      throw error;
    });
    return this.#prepared;
  }

  async #info(sha256: string): Promise<BlobInfo | undefined> {
    try {
      const info = await stat(this.#file(sha256));
      return info.isFile() ? { sha256, sizeBytes: info.size } : undefined;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  #file(sha256: string): string {
    return path.join(this.#root, 'sha256', sha256.slice(0, 2), sha256.slice(2));
  }

  #start(what: string, options: CallOptions): Deadline {
    this.#checkOpen();
    return startDeadline(this.#clock, what, options, this.#life.signal);
  }

  async #call<T>(what: string, options: CallOptions, operation: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    return await withDeadline(
      this.#clock,
      what,
      { timeoutMs: limits.storageCallTimeoutMs, ...options },
      operation,
    ).catch((error: unknown) => {
      throw this.#failure(error);
    });
  }

  #checkOpen(): void {
    if (this.#life.signal.aborted) throw new TypeError(`the artifact storage at ${this.#root} is closed`);
  }

  /** Waits for the disk within a call. */
  #disk(deadline: Deadline): <T>(what: string, step: Promise<T>) => Promise<T> {
    const bound = { timeoutMs: limits.storageStallMs };
    return async (what, step) => {
      try {
        return await deadline.race(withDeadline(this.#clock, `${what} at ${this.#root}`, bound, () => step));
      } catch (error) {
        throw this.#failure(error);
      }
    };
  }

  /** An error of the file system as ours. */
  #failure(error: unknown): unknown {
    const { code } = error as NodeJS.ErrnoException;
    const details = { path: this.#root };
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      const message = `the artifact storage at ${this.#root} is full; delete artifacts nobody needs, or give it more room`;
      return new BringupError('storage-full', message, { cause: error, details });
    }
    if (error instanceof BringupError || code === undefined) return error;
    const message = `the artifact storage at ${this.#root} can't be used: ${(error as Error).message}; check the folder's permissions and its disk`;
    return new BringupError('store-failed', message, { cause: error, details });
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

async function openBlob(file: string, sha256: string): Promise<FileHandle> {
  try {
    return await open(file, constants.O_RDONLY);
  } catch (error) {
    throw isMissing(error) ? blobNotFound(sha256) : error;
  }
}

/**
 * Opens a file that is being written once more, for writes past the system's cache; undefined where there are
 * no such. Its mode says that it is read-only, which has to be otherwise for a moment.
 */
async function openPastCache(file: FileHandle, name: string): Promise<FileHandle | undefined> {
  if (!('O_DIRECT' in constants)) return undefined;
  try {
    const mode = (await file.stat()).mode & 0o777;
    await file.chmod(mode | 0o200);
    try {
      return await open(name, constants.O_WRONLY | constants.O_DIRECT);
    } finally {
      await file.chmod(mode);
    }
  } catch {
    // Some file systems have neither modes nor such writes.
    return undefined;
  }
}

/** Closes a file once it is open, also when nobody waited for that; false when it never opened. */
async function closeOpened(opening: Promise<FileHandle>): Promise<boolean> {
  const file = await opening.catch(() => undefined);
  await file?.close().catch(() => undefined);
  return file !== undefined;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** Makes the names in a folder durable. */
async function flushFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
