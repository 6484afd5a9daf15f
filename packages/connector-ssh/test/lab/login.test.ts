import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { isBringupError, Secret, type BringupError, type ErrorCode, type ShellTarget } from '@bringup/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../../../test/fixtures/ports.ts';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh, type SshOptions } from '../../src/index.ts';

const run = promisify(execFile);
let sshd: Sshd;

beforeAll(async () => {
  sshd = await startSshd();
});
afterAll(() => sshd[Symbol.asyncDispose]());

/** Runs a command there; gives its exit code. */
async function logsIn(target: Partial<ShellTarget>, options: SshOptions = { agent: null }): Promise<number | null> {
  await using connector = ssh({ knownHosts: [sshd.knownHosts], ...options });
  const { keyPath: _key, ...rest } = sshd.target;
  await using session = await connector.connect({ ...rest, ...target });
  return (await session.exec(['true'])).exitCode;
}

async function refusal(target: Partial<ShellTarget>, code: ErrorCode, options?: SshOptions): Promise<BringupError> {
  const error: unknown = await logsIn(target, options).catch((reason: unknown) => reason);
  if (!isBringupError(error, code)) throw new Error(`expected ${code}, got ${String(error)}`);
  return error;
}

describe('logging in', () => {
  it('works with an encrypted key and its passphrase, and says what is missing or wrong without', async () => {
    const keyPath = join(sshd.dir, 'encrypted');
    await copyFile(sshd.keyPath, keyPath);
    await run('chmod', ['600', keyPath]);
    await run('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'open sesame', '-f', keyPath]);
    expect(await logsIn({ keyPath, passphrase: new Secret('open sesame') })).toBe(0);
    expect((await refusal({ keyPath }, 'authentication-failed')).message).toMatch(/encrypted.*passphrase/);
    const wrong = await refusal({ keyPath, passphrase: new Secret('sesame, open') }, 'authentication-failed');
    expect(wrong.message).toMatch(/passphrase is wrong/);
    expect(JSON.stringify(wrong) + wrong.message).not.toContain('sesame');
  });

  it('works with a key of the agent', async () => {
    const socket = join(sshd.dir, 'agent.sock');
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      await once(createInterface(agent.stdout), 'line');
      await run('ssh-add', ['-q', sshd.keyPath], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
      expect(await logsIn({}, { agent: socket })).toBe(0);
    } finally {
      agent.kill('SIGTERM');
      await once(agent, 'exit');
    }
  });

  it('takes from the agent only the keys the configuration names, when it says so', async () => {
    const socket = join(sshd.dir, 'agent-2.sock');
    const stranger = join(sshd.dir, 'named');
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', stranger]);
    const agent = spawn('ssh-agent', ['-D', '-a', socket], { stdio: ['ignore', 'pipe', 'ignore'] });
    const withConfig = async (...lines: readonly string[]): Promise<SshOptions> => {
      const path = join(sshd.dir, 'config');
      await writeFile(path, lines.join('\n'));
      return { configFiles: [path], agent: socket };
    };
    try {
      await once(createInterface(agent.stdout), 'line');
      await run('ssh-add', ['-q', sshd.keyPath], { env: { ...process.env, SSH_AUTH_SOCK: socket } });
      const other = [`IdentityFile ${stranger}.pub`, 'IdentitiesOnly yes'];
      await refusal({}, 'authentication-failed', await withConfig(...other));
      expect(await logsIn({}, await withConfig(`IdentityFile ${stranger}.pub`))).toBe(0);
      expect(await logsIn({}, await withConfig(`IdentityFile ${sshd.keyPath}.pub`, 'IdentitiesOnly yes'))).toBe(0);
    } finally {
      agent.kill('SIGTERM');
      await once(agent, 'exit');
    }
  });

  it('fails with what was tried and what the server accepts', async () => {
    const keyPath = join(sshd.dir, 'stranger');
    await run('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', keyPath]);
    const error = await refusal({ keyPath, password: new Secret('hunter2') }, 'authentication-failed');
    expect(error.details).toMatchObject({
      tried: [`key ${keyPath}`],
      accepted: ['publickey'],
      username: sshd.target.username,
    });
    expect(error.message + JSON.stringify(error)).not.toContain('hunter2');
  });

  it('goes on without an agent that does not answer', async () => {
    const error = await refusal({}, 'authentication-failed', { agent: join(sshd.dir, 'no-agent') });
    expect(error.message).toContain('agent');
  });

  it('says when the key file is missing or no key', async () => {
    expect((await refusal({ keyPath: '/nowhere/id' }, 'authentication-failed')).message).toContain("can't be read");
    const keyPath = join(sshd.dir, 'garbage');
    await writeFile(keyPath, await readFile(sshd.knownHosts));
    expect((await refusal({ keyPath }, 'authentication-failed')).message).toContain("can't be used");
  });

  it('fails with connection-failed, worth another try, when nothing listens', async () => {
    const error = await refusal({ keyPath: sshd.keyPath, port: await freePort() }, 'connection-failed');
    expect(error.retryable).toBe(true);
    expect(error.details).toMatchObject({ reason: 'ECONNREFUSED' });
  });
});
