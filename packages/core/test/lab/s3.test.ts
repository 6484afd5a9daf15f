import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import S3rver from 's3rver';
import { Secret, s3ArtifactStorage, type ArtifactStorage } from '@bringup/core';
import { artifactStorageContract } from '@bringup/core/testing';

const bucket = 'artifacts';

/** A service that speaks S3 over HTTP and keeps objects as files. */
class Service implements AsyncDisposable {
  readonly folder: string;
  readonly endpoint: string;
  /** Unfinished uploads that the service was told to forget; this one takes no notice. */
  aborted = 0;
  readonly #server: Server;

  private constructor(folder: string, server: Server) {
    this.folder = folder;
    this.#server = server;
    server.on('request', ({ method, url = '' }) => {
      if (method === 'DELETE' && url.includes('uploadId=')) this.aborted += 1;
    });
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(): Promise<Service> {
    const folder = await mkdtemp(path.join(tmpdir(), 'bringup-s3-'));
    const s3 = new S3rver({
      directory: folder,
      silent: true,
      vhostBuckets: false,
      configureBuckets: [{ name: bucket, configs: [] }],
    });
    await s3.configureBuckets();
    const server = createServer(s3.callback());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Service(folder, server);
  }

  storage(name = bucket): ArtifactStorage {
    return s3ArtifactStorage({
      endpoint: this.endpoint,
      bucket: name,
      prefix: 'lab/',
      partBytes: 5 * 1024 * 1024,
      credentials: { accessKeyId: 'S3RVER', secretAccessKey: new Secret('S3RVER') },
    });
  }

  /** Files of objects and of unfinished uploads whose name has a text in it. */
  async files(part: string): Promise<string[]> {
    const names = await readdir(path.join(this.folder, bucket), { recursive: true, withFileTypes: true });
    return names
      .filter((name) => name.isFile())
      .map((name) => path.relative(this.folder, path.join(name.parentPath, name.name)))
      .filter((name) => name.includes(part));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

artifactStorageContract({
  name: 'S3',
  lacks: ['tooManyBytes'],
  setup: async () => {
    const service = await Service.start();
    const storage = service.storage();
    return {
      storage,
      corrupt: async (sha256) => {
        const [file] = await service.files(`${sha256.slice(2)}._S3rver_object`);
        await appendFile(path.join(service.folder, file ?? expect.fail('there is no such object')), 'x');
      },
      leftovers: () => service.files('/tmp/'),
      dispose: async () => {
        await storage[Symbol.asyncDispose]();
        await service[Symbol.asyncDispose]();
      },
    };
  },
});

describe('artifacts in S3', () => {
  let service: Service;
  let storage: ArtifactStorage;

  beforeEach(async () => {
    service = await Service.start();
    storage = service.storage();
  });

  afterEach(async () => {
    await storage[Symbol.asyncDispose]();
    await service[Symbol.asyncDispose]();
  });

  const large = Buffer.alloc(12 * 1024 * 1024 + 5, 'bringup');
  const sha256 = createHash('sha256').update(large).digest('hex');

  async function* inPieces(bytes: Buffer): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.byteLength; at += 1_000_003) yield bytes.subarray(at, at + 1_000_003);
  }

  test.each([{}, { sha256 }])('R4.1: an artifact of many parts arrives whole, announced as %o', async (options) => {
    expect(await storage.put(inPieces(large), options)).toEqual({ sha256, sizeBytes: large.byteLength });
    expect(Buffer.concat(await Array.fromAsync(storage.get(sha256))).equals(large)).toBe(true);
    expect(await Array.fromAsync(storage.list())).toEqual([{ sha256, sizeBytes: large.byteLength }]);
    expect(await service.files('/tmp/')).toEqual([]);
    expect(storage.locate(sha256)).toBe(`s3://artifacts/lab/sha256/${sha256.slice(0, 2)}/${sha256.slice(2)}`);
  });

  test('E-checksum: parts of other bytes than announced are never put together', async () => {
    const wrong = createHash('sha256').update('other').digest('hex');
    await expect(storage.put(inPieces(large), { sha256: wrong })).rejects.toMatchObject({ code: 'checksum-mismatch' });
    expect(await Array.fromAsync(storage.list())).toEqual([]);
    expect(service.aborted).toBe(1);
  });

  test('a bucket that is not there, and a service that is not, are told with their place', async () => {
    const failed = { code: 'store-failed', message: expect.stringMatching(/s3:.*check its address, bucket/) };
    await using nowhere = service.storage('nowhere');
    await expect(Array.fromAsync(nowhere.list())).rejects.toMatchObject(failed);
    await using silent = s3ArtifactStorage({
      endpoint: 'http://127.0.0.1:1',
      bucket,
      credentials: { accessKeyId: 'S3RVER', secretAccessKey: new Secret('S3RVER') },
    });
    await expect(silent.put(inPieces(large))).rejects.toMatchObject({ ...failed, retryable: true });
  });
});
