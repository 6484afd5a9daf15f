import { createHash, randomBytes } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { writeHashed } from '../../src/artifacts/hashed-write.ts';
import { limits } from '../../src/limits.ts';

/** A file on a slow disk: a write looks at its bytes only when it is done. */
function slowFile(stored: Buffer, fails?: (position: number, length: number) => boolean | void): FileHandle {
  const file: Pick<FileHandle, 'datasync'> & { write: unknown } = {
    async write(block: Uint8Array, at: number, length: number, position: number) {
      for (let turn = 0; turn < 5; turn += 1) await setImmediate();
      if (fails?.(position, length) === true) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
      stored.set(block.subarray(at, at + length), position);
      return { bytesWritten: length };
    },
    datasync: async () => undefined,
  };
  return file as FileHandle;
}

const services = {
  openPastCache: async () => undefined,
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

describe('past the cache', () => {
  const content = randomBytes(limits.artifactCachedBytes + 3 * limits.artifactBlockBytes + 5);

  /** Stores the content with a second handle that writes so; tells which blocks each of them has written. */
  async function store(pastCache: (position: number, length: number) => number): Promise<[number, number[]]> {
    const stored = Buffer.alloc(content.byteLength);
    const past: number[] = [];
    let cachedBytes = 0;
    let closed = false;
    const file = slowFile(stored, (_position, length) => void (cachedBytes += length));
    const direct: Pick<FileHandle, 'close'> & { write: unknown } = {
      async write(block: Uint8Array, at: number, length: number, position: number) {
        const bytesWritten = pastCache(position, length);
        stored.set(block.subarray(at, at + bytesWritten), position);
        past.push(position);
        return { bytesWritten };
      },
      close: async () => void (closed = true),
    };
    const openPastCache = async (): Promise<FileHandle> => direct as FileHandle;
    const { sha256 } = await writeHashed(inChunks(content, 1_000_000), { file, ...services, openPastCache });
    expect(sha256).toBe(createHash('sha256').update(content).digest('hex'));
    expect(stored.equals(content)).toBe(true);
    await expect.poll(() => closed).toBe(true);
    return [cachedBytes, past.map((position) => position / limits.artifactBlockBytes)];
  }

  const first = limits.artifactCachedBytes / limits.artifactBlockBytes;

  test('go the full blocks of what is large, and nothing else', async () => {
    expect(await store((_position, length) => length)).toEqual([
      limits.artifactCachedBytes + 5,
      [first, first + 1, first + 2],
    ]);
  });

  test('goes nothing where the disk wants it otherwise', async () => {
    const refused = await store(() => {
      throw Object.assign(new Error('invalid argument'), { code: 'EINVAL' });
    });
    expect(refused).toEqual([content.byteLength, []]);
  });

  test('goes only a part of a block now and then: the rest of it is written too', async () => {
    const [cachedBytes] = await store((_position, length) => length / 4);
    expect(cachedBytes).toBe(limits.artifactCachedBytes + 5 + (9 * limits.artifactBlockBytes) / 4);
  });

  test('a disk that is full ends it', async () => {
    const full = store(() => {
      throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
    });
    await expect(full).rejects.toMatchObject({ code: 'ENOSPC' });
  });
});
