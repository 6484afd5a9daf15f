import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';
import { limits, s3ArtifactStorage, Secret } from '@bringup/core';
import { PostgresConnection, type PostgresSettings } from '../../src/store/postgres-connection.ts';
import { PostgresLinks } from '../../src/store/postgres-links.ts';
import { setUpSqlite } from '../../src/store/sqlite.ts';
import { withLimits } from '../support/limits.ts';

/** A driver of PostgreSQL whose server answers when it is told to. */
function fakeDriver() {
  const connected: EventEmitter[] = [];
  const names: (string | undefined)[] = [];
  let answers = Promise.resolve();
  class Client extends EventEmitter {
    async connect(): Promise<void> {
      connected.push(this);
    }
    async query({ name }: { readonly name?: string }): Promise<object> {
      names.push(name);
      await answers;
      return { rows: [], rowCount: 0, command: 'SELECT' };
    }
    async end(): Promise<void> {
      this.emit('end');
    }
  }
  const settings = {
    pg: { Client, types: { getTypeParser: () => String } },
    config: {},
    where: 'a fake',
  } as unknown as PostgresSettings;
  return { settings, connected, names, answerOnce: (when: Promise<void>): void => void (answers = when) };
}

describe('PostgreSQL', () => {
  it('L-postgresReaders: is read over that many connections; more statements share them', async () => {
    const { settings, connected, answerOnce } = fakeDriver();
    const links = new PostgresLinks(settings);
    const answered = Promise.withResolvers<void>();
    answerOnce(answered.promise);
    const reads: Promise<unknown>[] = [];
    for (let n = 1; n <= 4 * limits.postgresReaders; n += 1) {
      reads.push(links.read((connection) => connection.query('select 1', []), true));
      await new Promise((resolve) => setImmediate(resolve));
      expect(connected.length).toBeLessThanOrEqual(limits.postgresReaders);
    }
    expect(connected).toHaveLength(limits.postgresReaders);
    answered.resolve();
    await Promise.all(reads);
    await links.close();
  });

  it('L-postgresStatements: keeps that many statements prepared; others are sent as they are', () =>
    withLimits({ postgresStatements: 2 }, async () => {
      const { settings, names } = fakeDriver();
      const connection = await PostgresConnection.open(settings);
      for (const text of ['one', 'two', 'three']) {
        for (let use = 0; use < 3; use += 1) await connection.query(text, []);
      }
      expect(names.map((name) => name !== undefined)).toEqual([
        ...[false, true, true],
        ...[false, true, true],
        ...[false, false, false],
      ]);
      await connection.close();
    }));
});

it('L-sqliteCacheKb: SQLite keeps that much of its database in memory', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'bringup-cache-'));
  const database = new DatabaseSync(join(folder, 'db'));
  setUpSqlite(database, join(folder, 'db'));
  expect(database.prepare('pragma cache_size').get()).toEqual({ cache_size: -limits.sqliteCacheKb });
  database.close();
  await rm(folder, { recursive: true });
});

it('L-s3PartsAtATime: an artifact is sent to S3 in so many parts at a time; its source waits', async () => {
  const open: ServerResponse[] = [];
  let most = 0;
  let allRead = false;
  const answer = (response: ServerResponse): void => {
    open.splice(open.indexOf(response), 1);
    response.setHeader('etag', '"tag"').end();
  };
  const server = createServer((request, response) => {
    request.resume();
    const url = new URL(request.url ?? '', 'http://s3');
    if (request.method !== 'PUT' || !url.searchParams.has('partNumber')) {
      const xml = url.searchParams.has('uploads')
        ? '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>'
        : '<CompleteMultipartUploadResult><ETag>t</ETag></CompleteMultipartUploadResult>';
      return void response.setHeader('content-type', 'application/xml').end(xml);
    }
    open.push(response);
    most = Math.max(most, open.length);
    // The first is answered once as many as there may be are under way, and each next with one more.
    if (allRead || open.length >= limits.s3PartsAtATime) answer(open[0] ?? response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const storage = s3ArtifactStorage({
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bucket: 'artifacts',
    credentials: { accessKeyId: 'lab', secretAccessKey: new Secret('secret') },
    partBytes: limits.s3PartMinBytes,
  });
  const parts = limits.s3PartsAtATime + 3;
  const part = Buffer.alloc(limits.s3PartMinBytes);
  const hash = createHash('sha256');
  for (let n = 0; n < parts; n += 1) hash.update(part);
  let read = 0;
  const storing = storage.put(
    (async function* () {
      for (; read < parts; read += 1) yield part;
      // What is left is answered as it comes.
      allRead = true;
      for (const response of [...open]) answer(response);
    })(),
    { sha256: hash.digest('hex') },
  );
  expect(await storing).toMatchObject({ sizeBytes: parts * limits.s3PartMinBytes });
  expect(most).toBe(limits.s3PartsAtATime);
  await storage[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
}, 60_000);
