import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../contracts/runtime.ts';
import type { ByteSource, DownloadOptions, TransferReceipt, UploadOptions } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { PartialDownload } from '../model/partial-download.ts';
import { type Deadline, startDeadline } from './deadline.ts';
import { fileChunks } from './file-bytes.ts';
import { isFileSource } from './file-source.ts';
import { partName, removeDeadParts } from './part-name.ts';
import { ProgressReporter } from './progress.ts';
import { changedSince, checkReceipt, checksumError, transferError, unstalled } from './transfer-checks.ts';

/** Permission bits of an uploaded file unless told otherwise. */
export const defaultFileMode = 0o644;

/**
 * Stores a source under `path`: written beside it, flushed, read back, hashed and renamed. A source
 * that is a file of the same file system shares its blocks where the file system can do that; what
 * was stored is read back all the same.
 * @throws `checksum-mismatch`, `disk-full`, `transfer-failed`, or why the deadline ended.
 */
export async function storeFile(
  clock: Clock,
  deadline: Deadline,
  source: ByteSource,
  path: string,
  id: string,
  options: UploadOptions,
): Promise<TransferReceipt> {
  const part = join(dirname(path), await partName(id));
  const progress = new ProgressReporter(clock, source.sizeBytes, options.onProgress);
  try {
    await removeDeadParts(dirname(path));
    const sent = (await shareBlocks(source, part)) ?? (await writePart(clock, deadline, source, part, progress));
    await flush(part, options.mode ?? defaultFileMode);
    const stored = await hashFile(part, deadline.signal);
    checkReceipt(path, source, sent, stored);
    deadline.signal.throwIfAborted();
    await rename(part, path);
    await flushFolder(dirname(path));
    progress.finish();
    return stored;
  } catch (error) {
    await rm(part, { force: true });
    deadline.signal.throwIfAborted();
    throw transferError(error, path);
  }
}

/** The receipt of a source that shares its blocks with `part`; undefined where that can't be done. */
async function shareBlocks(source: ByteSource, part: string): Promise<TransferReceipt | undefined> {
  if (!isFileSource(source)) return undefined;
  try {
    await copyFile(source.localPath, part, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
  } catch {
    return undefined;
  }
  const known = source.sha256;
  return known === undefined ? hashFile(source.localPath) : { sizeBytes: source.sizeBytes, sha256: known };
}

async function writePart(
  clock: Clock,
  deadline: Deadline,
  source: ByteSource,
  part: string,
  progress: ProgressReporter,
): Promise<TransferReceipt> {
  await using file = await open(part, 'wx');
  // What was stored is read back and hashed; comparing that with a hash known before proves as much.
  const hash = source.sha256 === undefined ? createHash('sha256') : undefined;
  let sizeBytes = 0;
  for await (const chunk of unstalled(clock, deadline, source.read())) {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > source.sizeBytes) break;
    hash?.update(chunk);
    await writeAll(file, chunk);
    progress.add(chunk.byteLength);
  }
  return { sizeBytes, sha256: hash?.digest('hex') ?? source.sha256 ?? '' };
}

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.byteLength;) at += (await file.write(chunk, at)).bytesWritten;
}

async function flush(path: string, mode: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.chmod(mode);
  await file.sync();
}

/** Makes a rename durable. */
async function flushFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

async function hashFile(path: string, signal?: AbortSignal): Promise<TransferReceipt> {
  await using file = await open(path, 'r');
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of fileChunks(file)) {
    signal?.throwIfAborted();
    sizeBytes += chunk.byteLength;
    hash.update(chunk);
  }
  return { sizeBytes, sha256: hash.digest('hex') };
}

/**
 * The chunks of a local file. Nothing lies between the file and the reader, so what can go wrong is
 * that the file changes meanwhile: that, or another hash than expected, throws instead of ending.
 */
export async function* readLocalFile(
  clock: Clock,
  path: string,
  options: DownloadOptions,
  life: AbortSignal,
): AsyncGenerator<Uint8Array> {
  using deadline = startDeadline(clock, `Download of ${path}`, options, life);
  try {
    await using file = await open(path, 'r');
    const before = await file.stat({ bigint: true });
    if (!before.isFile())
      throw new BringupError('transfer-failed', `${path} is not a regular file.`, { details: { path } });
    const progress = new ProgressReporter(clock, Number(before.size), options.onProgress);
    const { sha256, resume } = options;
    const part = resume ?? (sha256 === undefined ? undefined : new PartialDownload());
    const from = part?.sizeBytes ?? 0;
    if (resume !== undefined) await expectBeginning(file, path, resume, deadline.signal);
    progress.add(from);
    let readBytes = BigInt(from);
    for await (const chunk of unstalled(clock, deadline, fileChunks(file, from))) {
      part?.add(chunk);
      readBytes += BigInt(chunk.byteLength);
      progress.add(chunk.byteLength);
      yield chunk;
    }
    const after = await file.stat({ bigint: true });
    if (readBytes !== before.size || after.mtimeNs !== before.mtimeNs) {
      throw new BringupError('checksum-mismatch', `${path} was changed while it was read. Download it again.`, {
        retryable: true,
        details: { path },
      });
    }
    const found = sha256 === undefined ? undefined : part?.sha256();
    if (found !== undefined && found !== sha256) throw checksumError(path, sha256 ?? '', found);
    progress.finish();
  } catch (error) {
    deadline.signal.throwIfAborted();
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw new BringupError('not-found', `There is no file ${path}.`, { cause: error, details: { path } });
    }
    throw transferError(error, path);
  }
}

/** @throws `checksum-mismatch` unless the file begins with the bytes that are here already. */
async function expectBeginning(
  file: FileHandle,
  path: string,
  part: PartialDownload,
  signal: AbortSignal,
): Promise<void> {
  if (part.sizeBytes === 0) return;
  const found = new PartialDownload();
  for await (const chunk of fileChunks(file)) {
    signal.throwIfAborted();
    found.add(chunk.subarray(0, part.sizeBytes - found.sizeBytes));
    if (found.sizeBytes === part.sizeBytes) break;
  }
  if (found.sha256() !== part.sha256()) throw changedSince(path, part);
}
