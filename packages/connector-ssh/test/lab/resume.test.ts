import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isBringupError, type ByteSource } from '@bringup/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { startTcpProxy } from '../../../../test/fixtures/tcp-proxy.ts';
import { ssh } from '../../src/index.ts';

let sshd: Sshd;
beforeAll(async () => {
  sshd = await startSshd();
});
afterAll(() => sshd[Symbol.asyncDispose]());

it('an upload whose connection is cut, again and again, goes on where it was and arrives whole', async () => {
  await using proxy = await startTcpProxy(sshd.port);
  const knownHosts = join(sshd.dir, 'known_hosts_proxy');
  await writeFile(knownHosts, `[127.0.0.1]:${proxy.port} ${await sshd.hostKey('ed25519')}\n`);
  await using connector = ssh({ knownHosts: [knownHosts] });
  const folder = join(sshd.dir, 'resumed');
  await mkdir(folder);
  const bytes = Buffer.alloc(12_000_000);
  for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE(at, at);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const offsets: number[] = [];
  const source: ByteSource = {
    sizeBytes: bytes.length,
    sha256,
    async *read(offset = 0) {
      offsets.push(offset);
      for (let at = offset; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
    },
  };
  const attempt = async (): Promise<unknown> => {
    await using session = await connector.connect({ ...sshd.target, port: proxy.port });
    return await session.upload(source, join(folder, 'file'), { resume: true });
  };
  for (const cut of [3_000_001, 2_345_678, 4_000_003]) {
    proxy.cutAfter(cut);
    const error: unknown = await attempt().catch((reason: unknown) => reason);
    expect(isBringupError(error, 'connection-lost')).toBe(true);
    // What the target was still working off has to be there before the next attempt asks.
    while ((await sshd.connections()).length > 0) await new Promise(setImmediate);
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^\.bringup-[0-9a-f]{32}\.part$/)]);
  }
  expect(await attempt()).toEqual({ sizeBytes: bytes.length, sha256 });
  expect((await readFile(join(folder, 'file'))).equals(bytes)).toBe(true);
  expect(await readdir(folder)).toEqual(['file']);
  expect(offsets).toEqual([...offsets].sort((one, other) => one - other));
  expect(offsets[0]).toBe(0);
  // What was on its way when the connection was cut may be lost: up to a window of SSH and what sockets hold.
  expect(offsets.at(-1)).toBeGreaterThan(1_000_000);
});

it('an upload that its caller stops leaves nothing behind', async () => {
  await using connector = ssh({ knownHosts: [sshd.knownHosts] });
  const folder = join(sshd.dir, 'stopped');
  await mkdir(folder);
  const bytes = Buffer.alloc(4_000_000, 1);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const stop = new AbortController();
  const source: ByteSource = {
    sizeBytes: bytes.length,
    sha256,
    async *read() {
      yield bytes.subarray(0, 1_000_000);
      while ((await readdir(folder)).length === 0) await new Promise(setImmediate);
      stop.abort();
      yield bytes.subarray(1_000_000);
    },
  };
  await using session = await connector.connect(sshd.target);
  const upload = session.upload(source, join(folder, 'file'), { resume: true, signal: stop.signal });
  await expect(upload).rejects.toMatchObject({ code: 'aborted' });
  expect(await readdir(folder)).toEqual([]);
});
