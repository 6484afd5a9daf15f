import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { BlobInfo } from '../contracts/artifact-storage.ts';
import { limits } from '../limits.ts';

/** What {@link writeHashed} needs of the storage it works for. */
export interface HashedWrite {
  readonly file: FileHandle;
  /** Waits for the source; rejects when the call has to end. */
  readonly untilCut: <T>(step: Promise<T>) => Promise<T>;
  /** Waits for an operation of the disk: as `untilCut`, with the disk's own bound and errors. */
  readonly disk: <T>(what: string, step: Promise<T>) => Promise<T>;
}

/**
 * Writes a stream to a file and flushes it, hashing on the way. Two blocks take turns: the thread
 * pool writes one while the source fills the other. Each chunk is copied into a block, for a source
 * may use its buffer again, then the next one is asked for, and only then the copy is hashed: the
 * source reads meanwhile. Flushing as it goes keeps the last flush short.
 */
export async function writeHashed(
  bytes: AsyncIterable<Uint8Array>,
  { file, untilCut, disk }: HashedWrite,
): Promise<BlobInfo> {
  const hash = createHash('sha256');
  let filling = Buffer.allocUnsafeSlow(limits.artifactBlockBytes);
  let resting = Buffer.allocUnsafeSlow(limits.artifactBlockBytes);
  let filled = 0;
  let hashed = 0;
  let sizeBytes = 0;
  let flushedBytes = 0;
  let writing: Promise<void> = Promise.resolve();
  let flushing: Promise<void> = Promise.resolve();

  const hashCopied = (): void => {
    hash.update(filling.subarray(hashed, filled));
    hashed = filled;
  };
  const writeBlock = async (): Promise<void> => {
    await disk('writing', writing);
    if (sizeBytes - flushedBytes >= limits.artifactFlushBytes) {
      await disk('flushing', flushing);
      flushing = watched(file.datasync());
      flushedBytes = sizeBytes;
    }
    writing = watched(writeFully(file, filling.subarray(0, filled), sizeBytes));
    hashCopied();
    sizeBytes += filled;
    [filling, resting] = [resting, filling];
    filled = hashed = 0;
  };

  const source = bytes[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (let step = source.next(); ; step = source.next(), hashCopied()) {
      const { done, value } = await untilCut(step);
      if (done === true) break;
      if (!(value instanceof Uint8Array))
        throw new TypeError('an artifact is stored from chunks of bytes (Uint8Array)');
      for (let at = 0; at < value.byteLength;) {
        const part = value.subarray(at, at + filling.byteLength - filled);
        filling.set(part, filled);
        filled += part.byteLength;
        at += part.byteLength;
        if (filled === filling.byteLength) await writeBlock();
      }
    }
    ended = true;
    if (filled > 0) await writeBlock();
    await disk('writing', writing);
    await disk('flushing', flushing);
    await disk('flushing', file.datasync());
    return { sha256: hash.digest('hex'), sizeBytes };
  } finally {
    // Not awaited: a source that is stuck in a read ends only after that read.
    if (!ended) source.return?.().catch(() => undefined);
  }
}

async function writeFully(file: FileHandle, block: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < block.byteLength;) {
    const { bytesWritten } = await file.write(block, at, block.byteLength - at, position + at);
    at += bytesWritten;
  }
}

/** Keeps a failure that is looked at later from counting as unhandled meanwhile. */
function watched(step: Promise<void>): Promise<void> {
  step.catch(() => undefined);
  return step;
}
