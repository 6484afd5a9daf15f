import { execFile } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fileArtifactStorage, fileSource } from '@bringup/core';
import type { Bench } from './bench.ts';
import { alternate, printTable, timed } from './bench.ts';

const exec = promisify(execFile);
const sizeMib = 1024;

/** Storing and reading a large artifact, against the tools an engineer would do it with by hand. */
export const bench: Bench = {
  name: 'artifacts',
  describe:
    'a 1 GiB artifact stored durably and read back verified, against cp + fsync + sha256sum and cat + sha256sum (MB/s)',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-artifacts-'));
    try {
      const image = join(folder, 'image');
      const sha256 = await makeImage(image);
      const put = await comparePut(folder, image, sha256);
      const get = await compareGet(folder, image, sha256);
      printTable(
        ['operation', 'ours', 'by hand', 'ratio'],
        [
          ['put', put.ours, put.byHand, put.ours / put.byHand],
          ['what the disk takes, with dd', put.disk, put.byHand, put.disk / put.byHand],
          ['get', get.ours, get.byHand, get.ours / get.byHand],
        ],
      );
      return {
        put_vs_cp_sha: put.ours / put.byHand,
        // Nobody stores faster than the disk takes it, without a hash.
        put_vs_disk: put.ours / put.disk,
        get_vs_cat: get.ours / get.byHand,
      };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Throughput {
  readonly ours: number;
  readonly byHand: number;
}

async function comparePut(
  folder: string,
  image: string,
  sha256: string,
): Promise<Throughput & { readonly disk: number }> {
  await using storage = fileArtifactStorage({ path: join(folder, 'put') });
  const copy = join(folder, 'copy');
  return await alternate({
    ours: async () => {
      const source = await fileSource(image);
      const figure = await megabytesPerSecond(() => storage.put(source.read(), { sha256 }));
      await storage.delete(sha256);
      return figure;
    },
    byHand: async () => {
      const figure = await megabytesPerSecond(async () => {
        await exec('cp', ['--reflink=never', image, copy]);
        await exec('sync', [copy]);
        await expectSum(copy, sha256);
      });
      await rm(copy);
      // As deleting from the storage does: neither side has to clear up after the other within its time.
      await exec('sync', [folder]);
      return figure;
    },
    disk: async () => {
      const figure = await megabytesPerSecond(async () => {
        await exec('dd', [`if=${image}`, `of=${copy}`, 'bs=4M', 'oflag=direct', 'conv=fdatasync']);
      });
      await rm(copy);
      await exec('sync', [folder]);
      return figure;
    },
  });
}

async function compareGet(folder: string, image: string, sha256: string): Promise<Throughput> {
  await using storage = fileArtifactStorage({ path: join(folder, 'get') });
  await storage.put((await fileSource(image)).read());
  return await alternate({
    ours: () =>
      megabytesPerSecond(async () => {
        let bytes = 0;
        for await (const chunk of storage.get(sha256)) bytes += chunk.byteLength;
        if (bytes !== sizeMib * 1024 * 1024) throw new Error(`read ${bytes} bytes`);
      }),
    byHand: () =>
      megabytesPerSecond(async () => {
        const { stdout } = await exec('sh', ['-c', 'cat "$1" | sha256sum', 'sh', image]);
        if (!stdout.startsWith(sha256)) throw new Error(`sha256sum says ${stdout}`);
      }),
  });
}

async function expectSum(path: string, sha256: string): Promise<void> {
  const { stdout } = await exec('sha256sum', [path]);
  if (!stdout.startsWith(sha256)) throw new Error(`sha256sum says ${stdout}`);
}

async function megabytesPerSecond(operation: () => Promise<unknown>): Promise<number> {
  return (sizeMib * 1024 * 1024) / 1000 / (await timed(operation));
}

/** A file that no file system can compress or share, and its SHA-256. */
async function makeImage(path: string): Promise<string> {
  await using file = await open(path, 'w');
  const hash = createHash('sha256');
  const block = Buffer.alloc(1024 * 1024);
  for (let i = 0; i < sizeMib; i += 1) {
    hash.update(randomFillSync(block));
    await file.write(block);
  }
  await file.sync();
  return hash.digest('hex');
}
