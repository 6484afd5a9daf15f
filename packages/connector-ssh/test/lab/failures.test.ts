import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import {
  isBringupError,
  limits,
  type ByteSource,
  type ErrorCode,
  type ShellConnector,
  type ShellSession,
} from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { startTcpProxy } from '../../../../test/fixtures/tcp-proxy.ts';
import { ssh, type SshOptions } from '../../src/index.ts';

const run = promisify(execFile);
let sshd: Sshd;
let dir: string;
const opened: AsyncDisposable[] = [];

beforeAll(async () => {
  sshd = await startSshd();
  dir = await mkdtemp(join(tmpdir(), 'bringup-failures-'));
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
});
afterAll(async () => {
  await sshd[Symbol.asyncDispose]();
  await rm(dir, { recursive: true, force: true });
});

async function connect(options: SshOptions = {}, port = sshd.port): Promise<ShellSession> {
  const connector: ShellConnector = ssh({ knownHosts: [await knownHosts(port)], ...options });
  opened.push(connector);
  return connector.connect({ ...sshd.target, port });
}

async function knownHosts(port: number): Promise<string> {
  const path = join(sshd.dir, `known_hosts_${port}`);
  await writeFile(path, `[127.0.0.1]:${port} ${await sshd.hostKey('ed25519')}\n`);
  return path;
}

async function codeOf(action: Promise<unknown>): Promise<ErrorCode> {
  const error: unknown = await action.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!isBringupError(error)) throw error;
  return error.code;
}

/** A source that stops half-way until it is let go. */
function source(sizeBytes: number, halfWay: Promise<void> = Promise.resolve()): ByteSource {
  return {
    sizeBytes,
    async *read(): AsyncIterable<Uint8Array> {
      yield Buffer.alloc(sizeBytes / 2, 1);
      await halfWay;
      yield Buffer.alloc(sizeBytes / 2, 2);
    },
  };
}

describe('a connection that goes black', () => {
  it('is noticed by keepalive, and nothing on it hangs', async () => {
    const proxy = await startTcpProxy(sshd.port);
    opened.push(proxy);
    const session = await connect({ keepaliveIntervalMs: 50, keepaliveCount: 2 }, proxy.port);
    const sleeper = await session.spawn(['sleep', '300']);
    const never = new Promise<void>(() => {});
    proxy.goBlack();
    const codes = await Promise.all(
      [
        session.exec(['true']),
        sleeper.exited,
        session.upload(source(1000, never), join(dir, 'black')),
        session.forward({ host: '127.0.0.1', port: 9 }),
      ].map(codeOf),
    );
    expect(new Set(codes)).toEqual(new Set(['connection-lost']));
    expect(isBringupError(await session.closed, 'connection-lost')).toBe(true);
  });

  it('fails a connect at its deadline', async () => {
    const proxy = await startTcpProxy(sshd.port);
    opened.push(proxy);
    proxy.goBlack();
    const connector = ssh({ knownHosts: [await knownHosts(proxy.port)] });
    opened.push(connector);
    expect(await codeOf(connector.connect({ ...sshd.target, port: proxy.port }, { timeoutMs: 100 }))).toBe(
      'deadline-exceeded',
    );
  });
});

describe('a process', () => {
  it('that crashes is told apart from a connection that is cut', async () => {
    const session = await connect();
    expect(await session.exec(['sh', '-c', 'kill -SEGV $$'])).toMatchObject({ exitCode: null, signal: 'SIGSEGV' });
    const sleeper = await session.spawn(['sleep', '300']);
    await sshd.dropConnections();
    expect(await codeOf(sleeper.exited)).toBe('connection-lost');
  });

  it('is not started in a folder that is missing, and the error names the folder', async () => {
    const session = await connect();
    const error: unknown = await session.exec(['true'], { cwd: '/no/such/folder' }).catch((reason: unknown) => reason);
    if (!isBringupError(error, 'command-failed')) throw error;
    expect(error.message).toContain('/no/such/folder');
    expect(await codeOf(session.spawn(['true'], { cwd: '/no/such/folder' }))).toBe('command-failed');
  });

  it('that ignores TERM is killed when its session ends', async () => {
    const clock = fakeClock();
    const session = await connect({ clock });
    const stubborn = await session.spawn(['sh', '-c', "trap '' TERM; echo ready; while :; do sleep 1; done"]);
    for await (const _ready of stubborn.stdout) break;
    const ended = session[Symbol.asyncDispose]();
    await clock.runUntil(Promise.resolve(ended));
    expect(await stubborn.exited).toEqual({ exitCode: null, signal: 'SIGKILL' });
  });
});

describe('a transfer', () => {
  it('fails with disk-full when the target has no room, and leaves nothing there', async () => {
    const small = join(dir, 'small');
    await mkdir(small);
    await run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
    try {
      const session = await connect();
      expect(await codeOf(session.upload(source(8 * 1024 * 1024), join(small, 'file')))).toBe('disk-full');
      expect(await readdir(small)).toEqual([]);
    } finally {
      await run('umount', [small]);
    }
  });

  it('fails when nothing moves any more, instead of waiting for ever', async () => {
    const clock = fakeClock();
    const session = await connect({ clock });
    const asked = Promise.withResolvers<void>();
    const never = new Promise<void>(() => {});
    const silent: ByteSource = {
      sizeBytes: 1000,
      async *read() {
        // Time stands still until the server has begun.
        asked.resolve();
        await never;
        yield Buffer.alloc(1000);
      },
    };
    const code = codeOf(session.upload(silent, join(dir, 'stuck')));
    await asked.promise;
    await clock.runUntil(code);
    expect(await code).toBe('transfer-failed');
    expect(clock.now() - Date.UTC(2026, 0, 1)).toBeLessThan(2 * limits.transferStallMs + 1);
  });

  it('leaves nothing behind when the connection is cut in the middle', async () => {
    const folder = join(dir, 'cut');
    await mkdir(folder);
    const session = await connect();
    const halfWay = Promise.withResolvers<void>();
    const code = codeOf(session.upload(source(1_000_000, halfWay.promise), join(folder, 'file')));
    while ((await readdir(folder)).length === 0) await new Promise(setImmediate);
    await sshd.dropConnections();
    expect(await code).toBe('connection-lost');
    while ((await readdir(folder)).length > 0) await new Promise(setImmediate);
  });

  it('tells a file that changes while it is read', async () => {
    const path = join(dir, 'changing');
    await writeFile(path, Buffer.alloc(64 * 1024 * 1024, 1));
    const session = await connect();
    const reading = async (): Promise<void> => {
      let first = true;
      for await (const _chunk of session.download(path)) {
        if (first) await writeFile(path, Buffer.alloc(64 * 1024 * 1024, 2));
        first = false;
      }
    };
    expect(await codeOf(reading())).toBe('checksum-mismatch');
  });
});
