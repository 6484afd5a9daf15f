import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isBringupError, limits, s3ArtifactStorage, Secret, systemClock, type Clock } from '@bringup/core';

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;
let answer: Answer;
const asked: string[] = [];
let port: number;
const server = createServer((request, response) => {
  asked.push(`${request.method} ${request.url}`);
  request.resume();
  response.on('error', () => undefined);
  answer(request, response);
});

beforeAll(async () => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});
beforeEach(() => void asked.splice(0));

/** Time for what never comes is cut short. */
const impatient: Clock = {
  now: () => systemClock.now(),
  timer: (delayMs, fire, options) => systemClock.timer(Math.min(delayMs, 300), fire, options),
};
const sha256 = createHash('sha256').update('x').digest('hex');
async function* bytes(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('x');
}

/** How each call to the service ends: the code of its error, or what it gave. */
async function calls(clock: Clock = systemClock): Promise<Record<string, unknown>> {
  const storage = s3ArtifactStorage({
    endpoint: `http://127.0.0.1:${port}`,
    bucket: 'artifacts',
    credentials: { accessKeyId: 'lab', secretAccessKey: new Secret('secret') },
    clock,
  });
  const outcome = async (call: () => Promise<unknown>): Promise<unknown> => {
    try {
      return await call();
    } catch (error) {
      expect(isBringupError(error), String((error as Error).stack)).toBe(true);
      expect((error as Error).message.length).toBeLessThan(1_000);
      return (error as { code: string }).code;
    }
  };
  const ends = {
    put: await outcome(() => storage.put(bytes())),
    get: await outcome(() => Array.fromAsync(storage.get(sha256))),
    part: await outcome(() => Array.fromAsync(storage.get(sha256, { offset: 1 }))),
    stat: await outcome(() => storage.stat(sha256)),
    delete: await outcome(() => storage.delete(sha256)),
    list: await outcome(() => Array.fromAsync(storage.list())),
  };
  await storage[Symbol.asyncDispose]();
  return ends;
}

/** Writes for as long as the other side takes it. */
function flood(response: ServerResponse, piece: string | Buffer): void {
  const more = (): void => void response.write(piece, (error) => error ?? (response.destroyed || setImmediate(more)));
  more();
}

describe('a service that only looks like S3', () => {
  const endless: Readonly<Record<string, Answer>> = {
    'answers without end': ({ method }, response) =>
      method === 'HEAD' ? response.end() : flood(response, Buffer.alloc(65_536, '<a>')),
    'has an error without end': ({ method }, response) => {
      response.writeHead(400, { 'content-type': 'application/xml' });
      if (method === 'HEAD') return response.end();
      flood(response, Buffer.alloc(65_536, '<Error>'));
    },
    'has headers without end': (_, response) => {
      response.socket?.write('HTTP/1.1 200 OK\r\n');
      response.socket?.write(`x-a: ${'y'.repeat(1_000)}\r\n`.repeat(10_000));
    },
  };
  test.for(Object.entries(endless))('and %s is hung up on (L-s3AnswerBytes)', async ([, act]) => {
    answer = act;
    const before = process.memoryUsage().rss;
    const ends = await calls();
    for (const call of ['get', 'part', 'list'])
      expect(ends[call], call).toMatch(/^(?:store-failed|artifact-corrupted)$/);
    expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024);
  });

  const slow: Readonly<Record<string, Answer>> = {
    'does not answer': () => undefined,
    'stops in the middle': (_, response) => void response.writeHead(200, { 'content-length': '100' }).write('x'),
    // An artifact may be slow: who reads it says how long.
    'answers with a byte now and then': ({ method, url = '' }, response) => {
      if (method === 'GET' && url.includes('/sha256/')) return response.destroy();
      response.writeHead(200, { 'content-length': '1000000' });
      const drip = setInterval(() => response.write('x'), 20);
      response.on('close', () => clearInterval(drip));
    },
  };
  test.for(Object.entries(slow))('and %s is given up', async ([, act]) => {
    answer = act;
    const ends = await calls(impatient);
    for (const call of ['put', 'get', 'list']) expect(ends[call], call).toMatch(/^(?:deadline-exceeded|store-failed)$/);
  });

  test.for([301, 302, 307, 308])(
    'and sends everybody elsewhere (%i) is not followed, nor are its credentials',
    async (status) => {
      answer = (request, response) =>
        request.url?.startsWith('/elsewhere') === true
          ? response.end('here')
          : response.writeHead(status, { location: `http://127.0.0.1:${port}/elsewhere` }).end();
      const ends = await calls();
      expect(Object.values(ends)).toEqual(Array.from({ length: 6 }, () => 'store-failed'));
      expect(asked.filter((request) => request.includes('/elsewhere'))).toEqual([]);
    },
  );

  const listing = (token: string, inside = ''): string =>
    `<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>${inside}<NextContinuationToken>${token}</NextContinuationToken></ListBucketResult>`;
  test('and lists nothing without end is no listing', async () => {
    answer = (_, response) => response.end(listing('again'));
    expect(await calls()).toMatchObject({ list: 'store-failed' });
    answer = (_, response) => response.end(listing(`${asked.length}`));
    expect(await calls()).toMatchObject({ list: 'store-failed' });
    expect(asked.length).toBeLessThan(2 * limits.s3EmptyPages);
  });

  test.for(['-1', '1e30', 'NaN', '99999999999999999999', '<a/>'])(
    'and claims a size of %s has no such blob',
    async (size) => {
      const inside = `<Contents><Key>sha256/${sha256.slice(0, 2)}/${sha256.slice(2)}</Key><Size>${size}</Size></Contents>`;
      answer = (_, response) => response.end(listing('x', inside).replace('true', 'false'));
      const { list } = await calls();
      expect(list === 'store-failed' || (Array.isArray(list) && list.length === 0), JSON.stringify(list)).toBe(true);
    },
  );

  test('and gives other bytes, in whatever way, is found out', async () => {
    const ways: Answer[] = [
      (_, response) => response.writeHead(200, { 'content-length': '1' }).end('y'),
      // No size: what comes could be a part.
      (_, response) => {
        response.write('yy');
        response.end('y');
      },
      (_, response) => response.end(''),
      (_, response) => {
        response.writeHead(200, { 'content-length': '2' }).write('x');
        setImmediate(() => response.destroy());
      },
    ];
    for (const way of ways) {
      answer = way;
      expect((await calls())['get']).toMatch(/^(?:store-failed|artifact-corrupted)$/);
    }
    // All of it where a part was asked for.
    answer = (_, response) => response.writeHead(200, { 'content-length': '1' }).end('x');
    expect(await calls()).toMatchObject({ get: [Buffer.from('x')], part: 'store-failed' });
  });

  test('and says anything is answered with a value or a typed error', async () => {
    const piece = fc.constantFrom(
      ...[
        '<?xml version="1.0"?>',
        '<ListBucketResult>',
        '</ListBucketResult>',
        '<Error>',
        '<Code>NoSuchKey</Code>',
        '<Contents>',
        '<Key>',
      ],
      ...[
        '<!DOCTYPE a [<!ENTITY b "cc">]>',
        '&b;',
        '&#x0;',
        '<![CDATA[',
        ']]>',
        '<Size>',
        '\0',
        '<IsTruncated>true</IsTruncated>',
        '{}',
        '__proto__',
      ],
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 200, max: 599 }), fc.array(piece, { maxLength: 8 }), async (status, parts) => {
        // What can be tried again is, by Amazon's SDK, after pauses.
        const code = status === 429 || status >= 500 ? 400 : status;
        answer = (_, response) => response.writeHead(code).end(parts.join(''));
        await calls();
      }),
      { numRuns: 100 },
    );
  });
});
