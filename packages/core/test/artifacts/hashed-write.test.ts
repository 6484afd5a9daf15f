import { createHash, randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { writeHashed } from '../../src/artifacts/hashed-write.ts';
import { limits } from '../../src/limits.ts';

/** A file on a slow disk: a write looks at its bytes only when it is done. */
function slowFile(stored: Buffer, fails?: (position: number) => boolean): FileHandle {
  const file: Pick<FileHandle, 'datasync'> & { write: unknown } = {
    async write(block: Uint8Array, at: number, length: number, position: number) {
      for (let turn = 0; turn < 5; turn += 1) await setImmediate();
      if (fails?.(position) === true) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      stored.set(block.subarray(at, at + length), position);
      return { bytesWritten: length };
    },
    datasync: async () => undefined,
  };
  return file as FileHandle;
}

const services = {
  untilCut: <T>(step: Promise<T>): Promise<T> => step,
  disk: <T>(_what: string, step: Promise<T>): Promise<T> => step,
};

async function* inChunks(content: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.byteLength; at += size) yield content.subarray(at, at + size);
}

test('a block is not filled again before the disk has taken it', async () => {
  const content = randomBytes(3 * limits.artifactBlocks * limits.artifactBlockBytes + 5);
  const stored = Buffer.alloc(content.byteLength);
  const chunks = inChunks(content, limits.artifactBlockBytes);
  expect(await writeHashed(chunks, { file: slowFile(stored), ...services })).toEqual({
    sha256: createHash('sha256').update(content).digest('hex'),
    sizeBytes: content.byteLength,
  });
  expect(stored.equals(content)).toBe(true);
});

test.each([0, 1, 7])('a disk that fails in block %d ends it, and lets the source go', async (failing) => {
  const content = randomBytes(8 * limits.artifactBlockBytes);
  const chunks = inChunks(content, limits.artifactBlockBytes);
  const file = slowFile(Buffer.alloc(content.byteLength), (at) => at === failing * limits.artifactBlockBytes);
  await expect(writeHashed(chunks, { file, ...services })).rejects.toMatchObject({ code: 'ENOSPC' });
  expect(await chunks.next()).toEqual({ done: true, value: undefined });
});
