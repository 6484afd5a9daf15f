import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';
import { Secret, type ShellTarget } from '@bringup/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startSshd, type Sshd } from '../../../../test/fixtures/sshd.ts';
import { ssh, type SudoOptions } from '../../src/index.ts';

const run = promisify(execFile);

/** An account of this test's own that may become root with its password; one that may not; one that need not tell any. */
const accounts = {
  asked: `bringup-a${process.pid}`,
  refused: `bringup-r${process.pid}`,
  free: `bringup-f${process.pid}`,
};
const password = new Secret('geheim %d "quoted" $HOME');
const sudoers = `/etc/sudoers.d/bringup-${process.pid}`;

let sshd: Sshd;
beforeAll(async () => {
  sshd = await startSshd();
  await chmod(sshd.dir, 0o711);
  await chmod(join(sshd.dir, 'home'), 0o777);
  for (const account of Object.values(accounts)) {
    await run('useradd', ['--no-create-home', '--shell', '/bin/sh', account]);
    await copyFile(`${sshd.keyPath}.pub`, join(sshd.dir, `authorized_${account}`));
    const told = execFile('chpasswd');
    told.stdin?.end(`${account}:${password.reveal()}\n`);
    await new Promise((done) => told.on('exit', done));
  }
  await writeFile(sudoers, `${accounts.asked} ALL=(ALL) ALL\n${accounts.free} ALL=(ALL) NOPASSWD: ALL\n`, {
    mode: 0o440,
  });
});
afterAll(async () => {
  await rm(sudoers, { force: true });
  for (const account of Object.values(accounts)) await run('userdel', [account]).catch(() => undefined);
  await sshd[Symbol.asyncDispose]();
});

async function connect(account: keyof typeof accounts, sudo: SudoOptions) {
  const connector = ssh({ knownHosts: [sshd.knownHosts], configFiles: [], agent: null, sudo });
  const target: ShellTarget = { ...sshd.target, username: accounts[account] };
  return { session: await connector.connect(target), connector };
}

describe('commands by sudo', () => {
  it('run as root, with the password told to sudo alone', async () => {
    const { session, connector } = await connect('asked', { password });
    await using _ = connector;
    const { stdout, stderr, exitCode } = await session.exec(['sh', '-c', 'id -u; cat; echo said >&2; exit 3'], {
      stdin: 'input',
    });
    expect({ stdout: stdout.toString(), stderr: stderr.toString(), exitCode }).toEqual({
      stdout: '0\ninput',
      stderr: 'said\n',
      exitCode: 3,
    });
    expect(inspect(connector, { depth: 20 })).not.toContain(password.reveal());
  });

  it('run where sudo asks for nothing: the command gets its own input and no password', async () => {
    const { session, connector } = await connect('free', { password });
    await using _ = connector;
    const { stdout } = await session.exec(['sh', '-c', 'id -u; cat'], { stdin: 'input' });
    expect(stdout.toString()).toBe('0\ninput');
  });

  it('run as another account than root', async () => {
    const { session, connector } = await connect('asked', { password, user: 'nobody' });
    await using _ = connector;
    expect((await session.exec(['id', '-un'])).stdout.toString()).toBe('nobody\n');
  });

  it.each([
    ['a wrong password', 'asked', { password: new Secret('wrong') }],
    ['no password where one is asked for', 'asked', {}],
    ['an account that may not', 'refused', { password }],
  ] as const)('are refused for %s, by a clear error without it', async (_name, account, sudo) => {
    const { session, connector } = await connect(account, sudo);
    await using _ = connector;
    const error: unknown = await session.exec(['id']).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'authentication-failed', details: { user: 'root' } });
    expect(inspect(error, { depth: 10 })).not.toMatch(/geheim|wrong password:|'wrong'/);
  });

  it('end with all they started when they are aborted, though they are root’s', async () => {
    const { session, connector } = await connect('asked', { password });
    await using _ = connector;
    const pids = join(sshd.dir, 'home', 'pids');
    const stop = new AbortController();
    const script = 'sleep 300 & echo $$ $! > "$1.new"; mv "$1.new" "$1"; wait';
    const process = await session.spawn(['sh', '-c', script, 'sh', pids], { signal: stop.signal });
    await expect.poll(() => readFile(pids, 'utf8').catch(() => ''), { timeout: 30_000 }).toMatch(/\d+ \d+/);
    const numbers = (await readFile(pids, 'utf8')).trim().split(' ');
    stop.abort();
    await process.exited.catch(() => undefined);
    // A process that has ended and was not asked for yet is a Z.
    const alive = async (pid: string): Promise<boolean> =>
      readFile(`/proc/${pid}/stat`, 'utf8').then(
        (text) => !/\) Z /.test(text),
        () => false,
      );
    await expect.poll(async () => Promise.all(numbers.map(alive)), { timeout: 30_000 }).toEqual([false, false]);
  });

  it('write and read files that are root’s alone', async () => {
    const { session, connector } = await connect('asked', { password });
    await using _ = connector;
    const folder = join(sshd.dir, 'roots');
    await mkdir(folder, { mode: 0o700 });
    const bytes = Buffer.from('content');
    const source = {
      sizeBytes: bytes.length,
      async *read() {
        yield bytes;
      },
    };
    await session.upload(source, join(folder, 'file'), { mode: 0o600 });
    expect(await readFile(join(folder, 'file'))).toEqual(bytes);
    const read: Uint8Array[] = [];
    for await (const chunk of session.download(join(folder, 'file'))) read.push(chunk);
    expect(Buffer.concat(read)).toEqual(bytes);
  });
});
