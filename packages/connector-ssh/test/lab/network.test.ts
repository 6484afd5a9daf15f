import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  isBringupError,
  PartialDownload,
  type ByteSource,
  type ShellConnector,
  type ShellSession,
} from '@bringup/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { layCable, type Cable } from '../../../../test/fixtures/cable.ts';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh } from '../../src/index.ts';

const keepalive = { keepaliveIntervalMs: 1_000, keepaliveCount: 3 };
/** Interval × count, and what a busy machine takes; without keepalive TCP itself would take a quarter of an hour. */
const noticedMs = keepalive.keepaliveIntervalMs * keepalive.keepaliveCount + 5_000;

const bytes = randomBytes(64 * 1024 * 1024);
const sha256 = createHash('sha256').update(bytes).digest('hex');

let cable: Cable;
let sshd: Sshd | undefined;
let connector: ShellConnector;

beforeAll(async () => {
  cable = await layCable();
  sshd = await startSshd({ network: cable });
  connector = ssh({ knownHosts: [sshd.knownHosts], ...keepalive });
});
afterAll(async () => {
  await connector?.[Symbol.asyncDispose]();
  await sshd?.[Symbol.asyncDispose]();
  await cable?.[Symbol.asyncDispose]();
});

function running(): Sshd {
  if (sshd === undefined) throw new TypeError('sshd is not running.');
  return sshd;
}

/** A session, as soon as the target can be reached: a link that has come up takes a moment, and so does ARP. */
async function connect(): Promise<ShellSession> {
  for (;;) {
    try {
      return await connector.connect(running().target);
    } catch (error) {
      if (!isBringupError(error, 'connection-failed') || !error.retryable) throw error;
      await setTimeout(20);
    }
  }
}

async function noticed(transfer: Promise<unknown>, pulledAt: () => number): Promise<void> {
  const error: unknown = await transfer.catch((reason: unknown) => reason);
  expect(error).toMatchObject({ code: 'connection-lost', retryable: true });
  expect(pulledAt()).toBeGreaterThan(0);
  expect(performance.now() - pulledAt()).toBeLessThan(noticedMs);
}

it('a network that is gone in the middle of an upload is noticed, and the upload goes on when it is back', async () => {
  const folder = join(running().dir, 'up');
  await mkdir(folder);
  const path = join(folder, 'file');
  let pulledAt = 0;
  const offsets: number[] = [];
  const source: ByteSource = {
    sizeBytes: bytes.length,
    sha256,
    async *read(offset = 0) {
      offsets.push(offset);
      for (let at = offset; at < bytes.length; at += 1024 * 1024) {
        if (pulledAt === 0 && at > bytes.length / 2) {
          await cable.plug('down');
          pulledAt = performance.now();
        }
        yield bytes.subarray(at, at + 1024 * 1024);
      }
    },
  };
  const attempt = async (): Promise<unknown> => {
    await using session = await connect();
    return await session.upload(source, path, { resume: true });
  };
  await noticed(attempt(), () => pulledAt);
  await cable.plug('up');
  expect(await attempt()).toEqual({ sizeBytes: bytes.length, sha256 });
  expect(offsets[1]).toBeGreaterThan(0);
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect(await readdir(folder)).toEqual(['file']);
});

it('a network that is gone in the middle of a download is noticed, and the download goes on when it is back', async () => {
  const path = join(running().dir, 'down');
  await writeFile(path, bytes);
  const resume = new PartialDownload();
  const chunks: Uint8Array[] = [];
  let pulledAt = 0;
  const attempt = async (): Promise<void> => {
    await using session = await connect();
    for await (const chunk of session.download(path, { resume })) {
      chunks.push(chunk);
      if (pulledAt > 0 || resume.sizeBytes < bytes.length / 2) continue;
      await cable.plug('down');
      pulledAt = performance.now();
    }
  };
  await noticed(attempt(), () => pulledAt);
  expect(resume.sizeBytes).toBeLessThan(bytes.length);
  await cable.plug('up');
  await attempt();
  expect(resume.sha256()).toBe(sha256);
  expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
});
