import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmod,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  readlink,
  rm,
  stat,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fileArtifactStorage } from '../../src/artifacts/file-storage.ts';
import { limits } from '../../src/limits.ts';
import { fileSource } from '../../src/local/file-source.ts';
import { artifactStorageContract } from '../../src/testing/artifact-storage-contract.ts';

artifactStorageContract({
  name: 'file system',
  lacks: ['tooManyBytes'],
  setup: async () => {
    const root = await mkdtemp(path.join(tmpdir(), 'bringup-artifacts-'));
    const storage = fileArtifactStorage({ path: root });
    return {
      storage,
      corrupt: (sha256) => damage(storage.locate(sha256) ?? ''),
      leftovers: () => unfinishedIn(root),
      dispose: async () => {
        await storage[Symbol.asyncDispose]();
        await rm(root, { recursive: true, force: true });
      },
    };
  },
});

const bytes = Buffer.from('bzImage');

let root: string;

beforeEach(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'bringup-artifacts-'));
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

async function* one(chunk: Uint8Array): AsyncGenerator<Uint8Array> {
  yield chunk;
}

async function unfinishedIn(folder: string): Promise<string[]> {
  return await readdir(path.join(folder, 'tmp')).catch(() => []);
}

/** What of a folder this process holds open. */
async function openFilesBelow(folder: string): Promise<string[]> {
  const numbers = await readdir('/proc/self/fd');
  const open = await Promise.all(numbers.map((number) => readlink(path.join('/proc/self/fd', number)).catch(() => '')));
  return open.filter((file) => file.startsWith(folder));
}

async function damage(file: string): Promise<void> {
  const content = await readFile(file);
  content[content.byteLength - 1] = (content.at(-1) ?? 0) ^ 1;
  await chmod(file, 0o644);
  await writeFile(file, content.byteLength === 0 ? 'x' : content);
}

describe('on the disk', () => {
  test('a blob lies under its hash, read-only, where locate says', async () => {
    const storage = fileArtifactStorage({ path: path.join(root, 'not', 'there', 'yet') });
    const { sha256 } = await storage.put(one(bytes));
    const file = path.join(root, 'not', 'there', 'yet', 'sha256', sha256.slice(0, 2), sha256.slice(2));
    expect(storage.locate(sha256)).toBe(file);
    expect(await readFile(file)).toEqual(bytes);
    expect((await stat(file)).mode & 0o222).toBe(0);
  });

  test.each([
    0,
    1,
    limits.artifactBlockBytes,
    limits.artifactBlocks * limits.artifactBlockBytes + 1,
    limits.artifactCachedBytes + 7_654_321,
  ])('a file of this machine with %d bytes is stored as it is', async (sizeBytes) => {
    const storage = fileArtifactStorage({ path: root });
    const content = randomBytes(sizeBytes);
    await writeFile(path.join(root, 'image'), content);
    const source = await fileSource(path.join(root, 'image'));
    const sha256 = createHash('sha256').update(content).digest('hex');
    expect(await storage.put(source.read(), { sha256 })).toEqual({ sha256, sizeBytes });
    expect(content.equals(await readFile(storage.locate(sha256) ?? ''))).toBe(true);
    expect((await stat(storage.locate(sha256) ?? '')).mode & 0o222).toBe(0);
    const tail = await storage.put(source.read(Math.floor(sizeBytes / 2)));
    expect(content.subarray(Math.floor(sizeBytes / 2)).equals(await readFile(storage.locate(tail.sha256) ?? ''))).toBe(
      true,
    );
  });

  test('of a file that went away before it was read, or is read in vain, nothing is left', async () => {
    const storage = fileArtifactStorage({ path: root });
    const image = path.join(root, 'image');
    await writeFile(image, randomBytes(3 * limits.artifactBlockBytes));
    const source = await fileSource(image);
    await expect(storage.put(source.read(), { sha256: 'a'.repeat(64) })).rejects.toMatchObject({
      code: 'checksum-mismatch',
    });
    await rm(image);
    await expect(storage.put(source.read())).rejects.toMatchObject({ code: 'not-found', details: { path: image } });
    expect(await unfinishedIn(root)).toEqual([]);
    expect(await Array.fromAsync(storage.list())).toEqual([]);
  });

  test('a file that can not be read to its end is told, and nothing of it is left', async () => {
    const storage = fileArtifactStorage({ path: root });
    const image = path.join(root, 'image');
    await writeFile(image, 'x');
    const source = await fileSource(image);
    await rm(image);
    await mkdir(image);
    await expect(storage.put(source.read())).rejects.toMatchObject({ code: 'transfer-failed' });
    expect(await unfinishedIn(root)).toEqual([]);
  });

  test('every file that was stored, or given up, is closed again', async () => {
    const storage = fileArtifactStorage({ path: root });
    const image = path.join(root, 'image');
    await writeFile(image, randomBytes(3 * limits.artifactBlockBytes));
    const source = await fileSource(image);
    await storage.put(source.read());
    await storage.put(source.read(), { sha256: 'a'.repeat(64) }).catch(() => undefined);
    await expect.poll(() => openFilesBelow(root)).toEqual([]);
  });

  test('a file that was cut short is corrupted, however it is asked for as a whole', async () => {
    const storage = fileArtifactStorage({ path: root });
    const { sha256 } = await storage.put(one(Buffer.alloc(3 * 1024 * 1024, 7)));
    await truncate(storage.locate(sha256) ?? '', 2 * 1024 * 1024);
    for (const range of [{}, { offset: 0, length: 3 * 1024 * 1024 }]) {
      await expect(Array.fromAsync(storage.get(sha256, range))).rejects.toMatchObject({ code: 'artifact-corrupted' });
    }
  });

  test('files that are no blobs are not listed', async () => {
    const storage = fileArtifactStorage({ path: root });
    const { sha256 } = await storage.put(one(bytes));
    await writeFile(path.join(root, 'sha256', sha256.slice(0, 2), 'README'), 'hello');
    await writeFile(path.join(root, 'sha256', 'notes'), 'hello');
    expect(await Array.fromAsync(storage.list())).toEqual([{ sha256, sizeBytes: bytes.byteLength }]);
  });

  test('a put works again after somebody emptied the folder', async () => {
    const storage = fileArtifactStorage({ path: root });
    await storage.put(one(bytes));
    await rm(root, { recursive: true });
    await expect(storage.put(one(bytes))).rejects.toMatchObject({ code: 'store-failed' });
    const { sha256 } = await storage.put(one(bytes));
    expect(await storage.stat(sha256)).toBeDefined();
  });

  test('a folder that can not be made is told with its path', async () => {
    await writeFile(path.join(root, 'file'), '');
    const storage = fileArtifactStorage({ path: path.join(root, 'file', 'artifacts') });
    const failed = expect.objectContaining({
      code: 'store-failed',
      message: expect.stringContaining(path.join(root, 'file')),
    });
    await expect(storage.put(one(bytes))).rejects.toEqual(failed);
    await expect(storage.freeBytes()).rejects.toEqual(failed);
  });

  test('reading does not need a folder that can be written', async () => {
    const storage = fileArtifactStorage({ path: path.join(root, 'nothing') });
    expect(await storage.stat('a'.repeat(64))).toBeUndefined();
    expect(await Array.fromAsync(storage.list())).toEqual([]);
    expect(await readdir(root)).toEqual([]);
  });
});

describe('what writers left behind', () => {
  let child: ChildProcess;

  beforeEach(async () => {
    const script = path.join(import.meta.dirname, 'fixtures', 'put-and-hang.ts');
    child = spawn(process.execPath, ['--conditions=bringup-source', script, root], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    if (child.stdout !== null) await once(child.stdout, 'data');
  });

  afterEach(async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });

  test('a put that is under way in another process is left alone', async () => {
    const before = await unfinishedIn(root);
    expect(before).toHaveLength(1);
    await fileArtifactStorage({ path: root }).put(one(bytes));
    expect(await unfinishedIn(root)).toEqual(before);
  });

  test('what a killed process left is removed by the next storage, and was never an artifact', async () => {
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await unfinishedIn(root)).toHaveLength(1);
    const storage = fileArtifactStorage({ path: root });
    const { sha256 } = await storage.put(one(bytes));
    expect(await unfinishedIn(root)).toEqual([]);
    expect(await Array.fromAsync(storage.list())).toEqual([{ sha256, sizeBytes: bytes.byteLength }]);
  });

  test('of a machine that can not be asked only what is old is removed', async () => {
    const foreign = (name: string): string => path.join(root, 'tmp', `0123456789abcdef-1-1-${name}.part`);
    const fresh = foreign('00000000-0000-0000-0000-000000000001');
    const old = foreign('00000000-0000-0000-0000-000000000002');
    await mkdir(path.dirname(fresh), { recursive: true });
    await Promise.all([fresh, old].map((file) => writeFile(file, 'part of an image')));
    const longAgo = (Date.now() - limits.artifactLeftoverMs - 60_000) / 1000;
    await utimes(old, longAgo, longAgo);
    await fileArtifactStorage({ path: root }).put(one(bytes));
    const left = await unfinishedIn(root);
    expect(left).toContain(path.basename(fresh));
    expect(left).not.toContain(path.basename(old));
  });
});
