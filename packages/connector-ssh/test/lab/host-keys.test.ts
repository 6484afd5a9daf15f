import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isBringupError, type ErrorCode, type BringupError } from '@bringup/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh, type SshOptions } from '../../src/index.ts';

const run = promisify(execFile);
let sshd: Sshd;
let files = 0;

beforeAll(async () => {
  sshd = await startSshd({ hostKeyTypes: ['ed25519', 'ecdsa', 'rsa'] });
});
afterAll(() => sshd[Symbol.asyncDispose]());

/** A known_hosts file with these lines; NAME stands for the server's name in it. */
async function knownHosts(...lines: readonly string[]): Promise<string> {
  files += 1;
  const path = join(sshd.dir, `known_hosts_${files}`);
  await writeFile(path, lines.map((line) => `${line.replace('NAME', `[127.0.0.1]:${sshd.port}`)}\n`).join(''));
  return path;
}

/** Runs a command there; gives its exit code. */
async function connects(options: SshOptions): Promise<number | null> {
  await using connector = ssh(options);
  await using session = await connector.connect(sshd.target);
  return (await session.exec(['true'])).exitCode;
}

async function refusal(options: SshOptions, code: ErrorCode): Promise<BringupError> {
  const error: unknown = await connects(options).catch((reason: unknown) => reason);
  if (!isBringupError(error, code)) throw new Error(`expected ${code}, got ${String(error)}`);
  return error;
}

describe('the host key', () => {
  it.each(['ed25519', 'ecdsa', 'rsa'] as const)('is accepted when known_hosts has the %s one alone', async (type) => {
    expect(await connects({ knownHosts: [await knownHosts(`NAME ${await sshd.hostKey(type)}`)] })).toBe(0);
  });

  it('is found in a file that ssh-keygen has hashed', async () => {
    const path = await knownHosts(`NAME ${await sshd.hostKey('ed25519')}`);
    await run('ssh-keygen', ['-q', '-H', '-f', path]);
    expect(await readFile(path, 'utf8')).toMatch(/^\|1\|/);
    expect(await connects({ knownHosts: [path] })).toBe(0);
  });

  it('is refused when nothing is known, with its fingerprint and the line to add', async () => {
    const path = await knownHosts('# nothing');
    const error = await refusal({ knownHosts: [path] }, 'host-key-unknown');
    const { stdout } = await run('ssh-keygen', ['-lf', join(sshd.dir, 'host_ed25519.pub')]);
    const fingerprint = stdout.split(' ')[1] ?? 'none';
    expect(error.details).toMatchObject({ hostname: '127.0.0.1', keyType: 'ssh-ed25519', fingerprint, file: path });
    expect(error.message).toContain(fingerprint);
    expect(error.message).toContain(`[127.0.0.1]:${sshd.port} ${await sshd.hostKey('ed25519')}`);
  });

  it('is refused when it has changed, with the line of the known one', async () => {
    const path = join(sshd.dir, 'another');
    await rm(path, { force: true });
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
    const old = (await readFile(`${path}.pub`, 'utf8')).trim();
    const file = await knownHosts('# first', `NAME ${old}`);
    const error = await refusal({ knownHosts: [file] }, 'host-key-changed');
    expect(error.details).toMatchObject({ file, line: 2, keyType: 'ssh-ed25519' });
    expect(error.message).toContain('ssh-keygen -R');
    await refusal({ knownHosts: [file], hostKeys: 'accept-new' }, 'host-key-changed');
  });

  it('is refused when it is revoked', async () => {
    const key = await sshd.hostKey('ed25519');
    const error = await refusal(
      { knownHosts: [await knownHosts(`NAME ${key}`, `@revoked * ${key}`)] },
      'host-key-changed',
    );
    expect(error.message).toContain('@revoked');
  });

  it('is refused when only a certificate authority is known, and says so', async () => {
    const file = await knownHosts(`@cert-authority * ${await sshd.hostKey('ed25519')}`);
    const error = await refusal({ knownHosts: [file], hostKeys: 'accept-new' }, 'host-key-unknown');
    expect(error.message).toContain('certificate');
  });

  it('is refused when the file is missing or can not be read', async () => {
    const error = await refusal({ knownHosts: [join(sshd.dir, 'missing')] }, 'host-key-unknown');
    expect(error.message).toContain(join(sshd.dir, 'missing'));
    await refusal({ knownHosts: [sshd.dir] }, 'host-key-unknown');
    await refusal({ knownHosts: [sshd.dir], hostKeys: 'accept-new' }, 'host-key-unknown');
  });

  it('is written down and then known, when new hosts are accepted', async () => {
    const file = join(sshd.dir, 'new', 'known_hosts');
    expect(await connects({ knownHosts: [file], hostKeys: 'accept-new' })).toBe(0);
    expect(await readFile(file, 'utf8')).toBe(`[127.0.0.1]:${sshd.port} ${await sshd.hostKey('ed25519')}\n`);
    expect(await connects({ knownHosts: [file] })).toBe(0);
  });

  it('is judged by its pinned fingerprint alone', async () => {
    const { stdout } = await run('ssh-keygen', ['-lf', join(sshd.dir, 'host_ed25519.pub')]);
    const name = `[127.0.0.1]:${sshd.port}`;
    expect(
      await connects({
        knownHosts: [join(sshd.dir, 'missing')],
        fingerprints: { [name]: [stdout.split(' ')[1] ?? ''] },
      }),
    ).toBe(0);
    await refusal({ knownHosts: [sshd.knownHosts], fingerprints: { [name]: ['SHA256:nothing'] } }, 'host-key-changed');
  });
});
