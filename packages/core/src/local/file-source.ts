import { type FileHandle, open, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ByteSource } from '../contracts/shell.ts';
import { BringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';

/** A file of this machine as a source of bytes. */
export interface FileSource extends ByteSource {
  /** Absolute path on this machine: uploads to this machine may share its blocks instead of copying. */
  readonly localPath: string;
}

/** Options of {@link fileSource}. */
export interface FileSourceOptions {
  /** Lower-case hex SHA-256 of the file, when it is known already. */
  readonly sha256?: string;
}

/**
 * A file of this machine as a source for uploads and artifacts. Its size is taken now: a file that
 * grows or shrinks while it is sent fails the transfer.
 * @throws `not-found`, `invalid-input` when it is not a regular file.
 */
export async function fileSource(path: string, options: FileSourceOptions = {}): Promise<FileSource> {
  const localPath = resolve(path);
  const info = await stat(localPath).catch((error: unknown) => {
    throw readError(localPath, error);
  });
  if (!info.isFile()) throw new BringupError('invalid-input', `${localPath} is not a regular file.`);
  return {
    localPath,
    sizeBytes: info.size,
    ...(options.sha256 === undefined ? {} : { sha256: options.sha256 }),
    async *read(offset = 0): AsyncIterable<Uint8Array> {
      try {
        await using file = await open(localPath, 'r');
        yield* fileChunks(file, offset);
      } catch (error) {
        throw readError(localPath, error);
      }
    },
  };
}

/** Whether a source is a file of this machine. */
export function isFileSource(source: ByteSource): source is FileSource {
  return typeof (source as Partial<FileSource>).localPath === 'string';
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

function readError(path: string, error: unknown): BringupError {
  if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
    return new BringupError('not-found', `There is no file ${path} on this machine.`, {
      cause: error,
      details: { path },
    });
  }
  return toBringupError(error, 'transfer-failed');
}
