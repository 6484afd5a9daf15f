import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { appendFile, mkdtemp, readFile, realpath, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ErrorCode, fileSource, localShell, type ShellProcess } from '@bringup/core';
import { fakeClock, shellContract } from '@bringup/core/testing';

const target = { hostname: 'localhost', username: 'me' };
const code = (value: ErrorCode): unknown => expect.objectContaining({ code: value });
const makeFolder = async (): Promise<string> => realpath(await mkdtemp(join(tmpdir(), 'bringup-shell-')));

/** One letter, see proc_pid_stat(5). */
async function stateOf(pid: string): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return stat.charAt(stat.lastIndexOf(')') + 2);
}

function echoServer(): Server {
  return createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
}

shellContract({
  name: 'local',
  lacks: ['drop-connection'],
  async setup() {
    const scratchDir = await makeFolder();
    const echo = echoServer();
    await once(echo.listen(`${scratchDir}/echo.sock`), 'listening');
    const connector = localShell();
    return {
      connector,
      target,
      scratchDir,
      echoServer: { socketPath: `${scratchDir}/echo.sock` },
      async dispose() {
        await connector[Symbol.asyncDispose]();
        echo.close();
        await rm(scratchDir, { recursive: true });
      },
    };
  },
});

describe('the local shell', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true }));

  async function waitForOutput(process: ShellProcess, text: string): Promise<void> {
    let said = '';
    for await (const chunk of process.stdout) {
      said += Buffer.from(chunk).toString();
      if (said.includes(text)) return;
    }
    expect.fail(`ended without saying ${text}`);
  }

  it('runs in the home folder with the environment of this program', async () => {
    await using session = await localShell().connect(target);
    expect((await session.exec(['pwd', '-P'])).stdout.toString().trim()).toBe(await realpath(homedir()));
    const { stdout } = await session.exec(['sh', '-c', 'echo "$PATH"']);
    expect(stdout.toString().trim()).toBe(process.env['PATH']);
  });

  it('says 126 to a file that may not be executed', async () => {
    await using session = await localShell().connect(target);
    await writeFile(join(folder, 'plain'), 'echo ran\n', { mode: 0o644 });
    expect(await session.exec([join(folder, 'plain')])).toMatchObject({ exitCode: 126, signal: null });
  });

  it('fails to start a command in a folder that is missing, and names the folder', async () => {
    await using session = await localShell().connect(target);
    const cwd = join(folder, 'missing');
    await expect(session.exec(['true'], { cwd })).rejects.toThrow(cwd);
    await expect(session.exec(['true'], { cwd })).rejects.toEqual(code('command-failed'));
  });

  it('keeps arguments, which may be secret, out of its errors', async () => {
    await using session = await localShell().connect(target);
    const failing = session.exec(['printf', 'hunter2'.repeat(20)], { maxOutputBytes: 10 });
    await expect(failing).rejects.toThrow(/^(?!.*hunter2).*"printf" on localhost said more than 10 bytes/);
  });

  it('kills a process that ignores TERM after the grace, and not before', async () => {
    const clock = fakeClock();
    await using session = await localShell({ clock }).connect(target);
    const mark = join(folder, 'ignored');
    const script = 'trap \'touch "$1"\' TERM; echo $$; while :; do sleep 0.01; done';
    const stubborn = await session.spawn(['sh', '-c', script, 'x', mark]);
    const pid = (await stubborn.stdout[Symbol.asyncIterator]().next()).value;
    const disposed = stubborn[Symbol.asyncDispose]();
    while (!existsSync(mark)) await setTimeout(5);
    await clock.advance(4_999);
    expect(
      await stateOf(
        Buffer.from(pid ?? '')
          .toString()
          .trim(),
      ),
    ).toMatch(/^[RSD]$/);
    await clock.advance(1);
    await disposed;
    expect(await stubborn.exited).toEqual({ exitCode: null, signal: 'SIGKILL' });
  });

  it('lets a process whose output is no longer read come to its own end', async () => {
    await using session = await localShell().connect(target);
    const talking = await session.spawn(['sh', '-c', 'echo first; head -c 4000000 /dev/zero && exit 7']);
    await waitForOutput(talking, 'first');
    expect(await talking.exited).toEqual({ exitCode: 7, signal: null });
  });

  it('rejects an aborted call only when the process is gone', async () => {
    await using session = await localShell().connect(target);
    const abort = new AbortController();
    const mark = join(folder, 'ended');
    const script = 'trap \'sleep 0.2; touch "$2"; exit 1\' TERM; touch "$1"; while :; do sleep 0.01; done';
    const running = session.exec(['sh', '-c', script, 'x', join(folder, 'ready'), mark], { signal: abort.signal });
    const failed = running.catch((error: unknown) => error);
    while ((await session.exec(['test', '-e', join(folder, 'ready')])).exitCode !== 0);
    abort.abort();
    expect(await failed).toEqual(code('aborted'));
    expect((await stat(mark)).isFile()).toBe(true);
  });

  it('leaves a process that was started detached alone when the session ends', async () => {
    const shell = localShell();
    const [go, done] = [join(folder, 'go'), join(folder, 'done')];
    const detached = 'until test -e "$1"; do sleep 0.01; done; touch "$2"';
    const session = await shell.connect(target);
    await session.exec([
      'sh',
      '-c',
      'setsid sh -c "$1" x "$2" "$3" >/dev/null 2>&1 </dev/null &',
      'x',
      detached,
      go,
      done,
    ]);
    await session[Symbol.asyncDispose]();
    await writeFile(go, '');
    await using other = await shell.connect(target);
    const waited = await other.exec(['sh', '-c', 'until test -e "$1"; do sleep 0.01; done', 'x', done]);
    expect(waited.exitCode).toBe(0);
  });

  it('forwards to a TCP port', async () => {
    await using session = await localShell().connect(target);
    const server = echoServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const stream = await session.forward({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    stream.end('over TCP');
    expect((await stream.toArray()).join('')).toBe('over TCP');
    server.close();
  });

  it('uploads a file of this machine and leaves it as it is', async () => {
    await using session = await localShell().connect(target);
    await writeFile(join(folder, 'from'), 'x'.repeat(1_000_000), { mode: 0o600 });
    const source = await fileSource(join(folder, 'from'));
    const receipt = await session.upload(source, join(folder, 'to'), { mode: 0o640 });
    expect(receipt.sizeBytes).toBe(1_000_000);
    await appendFile(join(folder, 'to'), 'more');
    expect((await stat(join(folder, 'from'))).size).toBe(1_000_000);
    expect((await stat(join(folder, 'to'))).mode & 0o777).toBe(0o640);
  });

  it('fails an upload whose file grew since it was looked at', async () => {
    await using session = await localShell().connect(target);
    const source = await fileSource(join(await filled('from', 'before'), 'from'));
    await appendFile(join(folder, 'from'), ' and after');
    await expect(session.upload(source, join(folder, 'to'))).rejects.toEqual(code('transfer-failed'));
  });

  it('fails an upload whose file has another checksum than was promised', async () => {
    await using session = await localShell().connect(target);
    const source = await fileSource(join(await filled('from', 'bytes'), 'from'), { sha256: 'f'.repeat(64) });
    await expect(session.upload(source, join(folder, 'to'))).rejects.toEqual(code('checksum-mismatch'));
  });

  it('gives the rest of a file from an offset, more than once', async () => {
    const source = await fileSource(join(await filled('from', 'abcdef'), 'from'));
    for (const [offset, rest] of [
      [2, 'cdef'],
      [0, 'abcdef'],
      [6, ''],
    ] as const) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of source.read(offset)) chunks.push(chunk);
      expect(Buffer.concat(chunks).toString()).toBe(rest);
    }
  });

  it('has no source for what is missing or no file', async () => {
    await expect(fileSource(join(folder, 'missing'))).rejects.toEqual(code('not-found'));
    await expect(fileSource(folder)).rejects.toEqual(code('invalid-input'));
  });

  it('throws instead of ending a download whose file changed meanwhile', async () => {
    await using session = await localShell().connect(target);
    const path = join(await filled('from', 'x'.repeat(2_000_000)), 'from');
    const read = async (): Promise<void> => {
      for await (const _chunk of session.download(path)) await utimes(path, 1, 1);
    };
    await expect(read()).rejects.toEqual(code('checksum-mismatch'));
  });

  async function filled(name: string, text: string): Promise<string> {
    await writeFile(join(folder, name), text);
    return folder;
  }
});
