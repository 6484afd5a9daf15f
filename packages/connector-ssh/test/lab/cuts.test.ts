import { createCipheriv, createHash, randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileSource, isBringupError, PartialDownload, type FileSource, type ShellConnector } from '@bringup/core';
import { seededRandom } from '@bringup/core/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { startTcpProxy, type TcpProxy } from '../../../../test/fixtures/tcp-proxy.ts';
import { ssh } from '../../src/index.ts';

const sizeBytes = 256 * 1024 * 1024;
const cuts = 100;
/** Whatever hangs fails by this: a transfer of the whole file takes a few seconds. */
const timeoutMs = 60_000;
const seed = Number(process.env['BRINGUP_SEED'] ?? randomInt(2 ** 31));

let sshd: Sshd;
let proxy: TcpProxy;
let knownHosts: string;
let source: FileSource;

beforeAll(async () => {
  sshd = await startSshd();
  proxy = await startTcpProxy(sshd.port);
  knownHosts = join(sshd.dir, 'known_hosts_proxy');
  await writeFile(knownHosts, `[127.0.0.1]:${proxy.port} ${await sshd.hostKey('ed25519')}\n`);
  const path = join(sshd.dir, 'image');
  await fill(path);
  source = await fileSource(path, { sha256: await hashOf(path) });
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await sshd?.[Symbol.asyncDispose]();
});

describe(`256 MiB, cut at 100 random bytes (BRINGUP_SEED=${seed})`, () => {
  it('up: every cut is gone on from, and the file arrives whole', async () => {
    const folder = join(sshd.dir, 'up');
    await mkdir(folder);
    const path = join(folder, 'image');
    const lost = await cutAgainAndAgain('client', (session) =>
      session.upload(source, path, { resume: true, timeoutMs }),
    );
    expect(lost).toBe(cuts);
    expect(await hashOf(path)).toBe(source.sha256);
    expect(await readdir(folder)).toEqual(['image']);
    await rm(folder, { recursive: true });
  });

  it('down: every cut is gone on from, and the file arrives whole', async () => {
    const path = join(sshd.dir, 'down');
    let part = new PartialDownload();
    let attempts = 0;
    const lost = await cutAgainAndAgain('server', async (session) => {
      attempts += 1;
      // Now and then by a program that knows no more than what is in the file.
      if (attempts % 25 === 0) part = await partOf(path);
      await using file = await open(path, attempts === 1 ? 'w' : 'r+');
      let at = part.sizeBytes;
      for await (const chunk of session.download(source.localPath, { resume: part, timeoutMs })) {
        await file.write(chunk, 0, chunk.byteLength, at);
        at += chunk.byteLength;
      }
    });
    expect(lost).toBe(cuts);
    expect(part.sizeBytes).toBe(sizeBytes);
    expect(await hashOf(path)).toBe(source.sha256);
  });
});

type Session = Awaited<ReturnType<ShellConnector['connect']>>;

/**
 * Tries until it succeeds. The first hundred connections are cut behind a random number of bytes each, of which
 * there are so few in all that the transfer can't be over before.
 * @returns how many failed; each has to say that its connection was lost.
 */
async function cutAgainAndAgain(of: 'client' | 'server', attempt: (session: Session) => Promise<unknown>) {
  const random = seededRandom(seed);
  await using connector = ssh({ knownHosts: [knownHosts] });
  for (let lost = 0; ; lost += 1) {
    if (lost < cuts) proxy.cutAfter(1 + Math.floor((random.next() * 1.5 * sizeBytes) / cuts), of);
    try {
      await using session = await connector.connect({ ...sshd.target, port: proxy.port }, { timeoutMs });
      await attempt(session);
      return lost;
    } catch (error) {
      // A cut may also be in the middle of a login.
      if (!isBringupError(error, 'connection-lost', 'connection-failed') || !error.retryable) throw error;
    }
  }
}

/** Bytes that look random, and are the same for the same seed. */
async function fill(path: string): Promise<void> {
  const noise = createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16));
  const zeros = Buffer.alloc(1024 * 1024);
  await using file = await open(path, 'w');
  for (let at = 0; at < sizeBytes; at += zeros.length) await file.write(noise.update(zeros));
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

async function partOf(path: string): Promise<PartialDownload> {
  const part = new PartialDownload();
  for await (const chunk of createReadStream(path)) part.add(chunk as Buffer);
  return part;
}
