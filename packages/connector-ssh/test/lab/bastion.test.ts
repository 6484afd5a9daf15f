import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  isBringupError,
  type BringupError,
  type ErrorCode,
  type ShellConnector,
  type ShellTarget,
} from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../../../test/fixtures/ports.ts';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh, type SshOptions } from '../../src/index.ts';

let gate: Sshd;
let inner: Sshd;
let board: Sshd;
const opened: AsyncDisposable[] = [];

beforeAll(async () => {
  [gate, inner, board] = await Promise.all([startSshd(), startSshd(), startSshd()]);
});
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]();
});
afterAll(() => Promise.all([gate, inner, board].map((sshd) => sshd[Symbol.asyncDispose]())));

/** Where each of the three is and how to get in, as a user would write it. */
function hostBlock(name: string, sshd: Sshd, ...more: readonly string[]): string {
  const lines = ['HostName 127.0.0.1', `Port ${sshd.port}`, `IdentityFile ${sshd.keyPath}`, ...more];
  return [`Host ${name}`, ...lines, `UserKnownHostsFile ${sshd.knownHosts}`, 'IdentityAgent none', ''].join('\n');
}

async function connector(config: string, options: SshOptions = {}): Promise<ShellConnector> {
  const path = join(gate.dir, 'config');
  await writeFile(path, config);
  const made = ssh({ configFiles: [path], ...options });
  opened.push(made);
  return made;
}

const target = (hostname: string): ShellTarget => ({ hostname, username: board.target.username });

async function refusal(action: Promise<unknown>, code: ErrorCode): Promise<BringupError> {
  const error: unknown = await action.catch((reason: unknown) => reason);
  if (!isBringupError(error, code)) throw new Error(`expected ${code}, got ${String(error)}`);
  return error;
}

const throughTwo = (): string =>
  hostBlock('board', board, 'ProxyJump gate,inner') + hostBlock('gate', gate) + hostBlock('inner', inner);

describe('a host behind others', () => {
  it('is reached through each of them, and files arrive whole', async () => {
    const session = await (await connector(throughTwo())).connect(target('board'));
    // What the board's sshd sees as its client is the inner host's, not ours.
    const { stdout } = await session.exec(['sh', '-c', 'echo $SSH_CONNECTION']);
    expect(stdout.toString()).toContain(`127.0.0.1 ${board.port}`);
    for (const sshd of [gate, inner, board]) expect(await sshd.connections()).toHaveLength(1);
    const bytes = Buffer.alloc(4_000_000, 'through ');
    const source = { sizeBytes: bytes.length, read: (offset = 0) => [bytes.subarray(offset)].values() as never };
    const path = join(board.dir, 'whole');
    await session.upload(source, path);
    expect((await readFile(path)).equals(bytes)).toBe(true);
    let received = 0;
    for await (const chunk of session.download(path)) received += chunk.byteLength;
    expect(received).toBe(bytes.length);
  });

  it('shares the connection to its bastion with the other hosts behind that, however many connect at once', async () => {
    const config =
      hostBlock('a', board, 'ProxyJump gate') + hostBlock('b', inner, 'ProxyJump gate') + hostBlock('gate', gate);
    const one = await connector(config);
    const sessions = await Promise.all(['a', 'b', 'a', 'gate'].map((name) => one.connect(target(name))));
    const codes = await Promise.all(sessions.map((session) => session.exec(['true'])));
    expect(codes.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0]);
    expect(await gate.connections()).toHaveLength(1);
  });

  it('keeps its bastion connected while it is used, and lets go of it afterwards', async () => {
    const clock = fakeClock();
    const config = hostBlock('board', board, 'ProxyJump gate') + hostBlock('gate', gate);
    const session = await (await connector(config, { clock, idleMs: 60_000 })).connect(target('board'));
    await clock.advance(600_000);
    expect((await session.exec(['true'])).exitCode).toBe(0);
    await session[Symbol.asyncDispose]();
    // A connection is idle once the last channel in it is closed, which takes the other side as long as it takes.
    for (const sshd of [board, gate]) while ((await sshd.connections()).length > 0) await clock.advance(60_000);
  });

  it('is lost with its bastion, at once, and the error names that', async () => {
    const session = await (await connector(throughTwo())).connect(target('board'));
    const sleeper = await session.spawn(['sleep', '300']);
    await inner.dropConnections();
    const error = await refusal(sleeper.exited, 'connection-lost');
    expect(error.message).toContain('@board');
    expect(error.message).toContain('@inner');
    expect(isBringupError(await session.closed, 'connection-lost')).toBe(true);
    await session[Symbol.asyncDispose]();
  });
});

describe('a host on the way', () => {
  it('must show its own host key: one that is not known ends the way there', async () => {
    const empty = join(gate.dir, 'empty');
    await writeFile(empty, '');
    const config =
      hostBlock('board', board, 'ProxyJump gate,inner') + hostBlock('gate', gate) + hostBlock('inner', inner);
    const unknown = config.replace(inner.knownHosts, empty);
    const error = await refusal((await connector(unknown)).connect(target('board')), 'host-key-unknown');
    expect(error.message).toMatch(/On the way to .*@board:.*host key of .*@inner/);
    expect(error.details).toMatchObject({ hostname: 'inner', target: expect.stringContaining('@board') });
    // A bastion can't pass itself off as the board either.
    const posing = config.replace(board.knownHosts, inner.knownHosts);
    await refusal((await connector(posing)).connect(target('board')), 'host-key-unknown');
  });

  it('is named when it refuses the login, is not there, or does not let us through', async () => {
    const config =
      hostBlock('board', board, 'ProxyJump gate,inner') + hostBlock('gate', gate) + hostBlock('inner', inner);
    const stranger = config.replace(`IdentityFile ${inner.keyPath}`, `IdentityFile ${gate.keyPath}`);
    const refused = await refusal((await connector(stranger)).connect(target('board')), 'authentication-failed');
    expect(refused.message).toContain('@inner');
    const nobody = config.replace(`Port ${inner.port}`, `Port ${await freePort()}`);
    const gone = await refusal((await connector(nobody)).connect(target('board')), 'connection-failed');
    expect(gone.message).toMatch(
      /On the way to .*@board:.* Could not connect to .*@inner.*@gate.* could not reach 127\.0\.0\.1/,
    );
    expect(gone.retryable).toBe(true);
    await using closed = await startSshd({ config: ['AllowTcpForwarding no'] });
    const shut = hostBlock('board', board, 'ProxyJump gate') + hostBlock('gate', closed);
    const error = await refusal((await connector(shut)).connect(target('board')), 'connection-failed');
    expect(error.message).toContain('AllowTcpForwarding');
    expect(error.retryable).toBe(false);
  });
});
