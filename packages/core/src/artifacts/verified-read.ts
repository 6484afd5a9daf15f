import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { limits } from '../limits.ts';

/** What {@link readVerified} needs of the storage it works for. */
export interface VerifiedRead {
  readonly file: FileHandle;
  readonly start: number;
  readonly end: number;
  /** Ends the wait for the disk when the call has to end, when it takes too long, or as it failed. */
  readonly disk: <T>(what: string, step: Promise<T>) => Promise<T>;
  /** What the bytes must hash to; undefined for a part of a blob, whose hash nobody knows. */
  readonly sha256: string | undefined;
  /** The error for bytes that are missing or wrong. */
  readonly corrupted: () => Error;
}

/** The bytes of a file from `start` to `end`. The next block is read while one is hashed and used. */
export async function* readVerified({
  file,
  start,
  end,
  disk,
  sha256,
  corrupted,
}: VerifiedRead): AsyncGenerator<Uint8Array, void> {
  const hash = sha256 === undefined ? undefined : createHash('sha256');
  let reading = start < end ? readBlock(file, start, end) : undefined;
  for (let at = start; reading !== undefined;) {
    const block: Uint8Array = await disk('reading', reading);
    if (block.byteLength === 0) throw corrupted();
    at += block.byteLength;
    reading = at < end ? readBlock(file, at, end) : undefined;
    hash?.update(block);
    yield block;
  }
  if (hash?.digest('hex') !== sha256) throw corrupted();
}

function readBlock(file: FileHandle, at: number, end: number): Promise<Uint8Array> {
  const size = Math.min(limits.artifactBlockBytes, end - at);
  const step = file
    .read(Buffer.allocUnsafeSlow(size), 0, size, at)
    .then(({ buffer, bytesRead }) => buffer.subarray(0, bytesRead));
  // It may fail while the consumer still works on the block before.
  step.catch(() => undefined);
  return step;
}
