import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { ByteSource } from '../contracts/shell.ts';
import { BringupError, toBringupError } from '../errors.ts';
import { FileBytes } from './file-bytes.ts';

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
    read: (offset = 0) => new FileBytes(localPath, offset, (error) => readError(localPath, error)),
  };
}

/** Whether a source is a file of this machine. */
export function isFileSource(source: ByteSource): source is FileSource {
  return typeof (source as Partial<FileSource>).localPath === 'string';
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
