import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ByteSource, type ErrorCode, localShell, type ShellSession } from '@bringup/core';
import { fakeClock, memoryShell } from '@bringup/core/testing';

const target = { hostname: 'board1', username: 'root' };

function source(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.byteLength,
    async *read() {
      yield bytes;
    },
  };
}

async function read(session: ShellSession, path: string): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of session.download(path)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const code = (value: ErrorCode): unknown => expect.objectContaining({ code: value });

describe('commands of the memory shell', () => {
  it('are functions that get argv, environment, input and files', async () => {
    const shell = memoryShell({
      commands: {
        async make({ argv, cwd, env, stdin, stdout, stderr, fs, path }) {
          let input = '';
          for await (const chunk of stdin) input += Buffer.from(chunk).toString();
          fs.writeFile(path('out'), `built with ${env['CC']}`);
          await stdout.write(`${argv.slice(1).join('+')} in ${cwd} from ${input}`);
          await stderr.write('a warning');
          return 2;
        },
      },
    });
    const session = await shell.connect(target);
    const result = await session.exec(['make', 'a', 'b'], { cwd: '/tmp', env: { CC: 'gcc' }, stdin: 'recipe' });
    expect(result).toMatchObject({ exitCode: 2, signal: null });
    expect([result.stdout.toString(), result.stderr.toString()]).toEqual(['a+b in /tmp from recipe', 'a warning']);
    expect(shell.host('board1').fs.readFile('/tmp/out').toString()).toBe('built with gcc');
    expect(shell.host('board1').history).toEqual([['make', 'a', 'b']]);
  });

  it('can be scripts, known by their exact text', async () => {
    const script = 'cd -- "$1" && exec make "$2"';
    const shell = memoryShell({ scripts: new Map([[script, ({ argv, run }) => run(['echo', ...argv])]]) });
    const session = await shell.connect(target);
    expect((await session.exec(['sh', '-c', script, 'build', '/src', 'all'])).stdout.toString()).toBe(
      'build /src all\n',
    );
    const unknown = await session.exec(['sh', '-c', 'rm -rf /', 'x']);
    expect(unknown.exitCode).toBe(127);
    expect(unknown.stderr.toString()).toContain('does not know this script');
  });

  it('exit with 1 and say why when they throw', async () => {
    const shell = memoryShell({ commands: { broken: () => Promise.reject(new Error('out of paper')) } });
    const session = await shell.connect(target);
    const result = await session.exec(['broken']);
    expect([result.exitCode, result.stderr.toString()]).toEqual([1, 'broken: out of paper\n']);
  });

  it('sleep on the injected clock', async () => {
    const clock = fakeClock(0);
    const session = await memoryShell({ clock }).connect(target);
    const result = await clock.runUntil(session.exec(['sleep', '30']));
    expect([result.exitCode, clock.now()]).toEqual([0, 30_000]);
  });

  it('reach their deadline on the injected clock', async () => {
    const clock = fakeClock(0);
    const session = await memoryShell({ clock }).connect(target);
    await expect(clock.runUntil(session.exec(['sleep', '3600']))).rejects.toThrow('took longer than 60000 ms');
    expect(clock.now()).toBe(60_000);
  });
});

describe('targets of the memory shell', () => {
  it('have files of their own', async () => {
    const shell = memoryShell();
    shell.host('a').fs.writeFile('/tmp/f', 'of a');
    const b = await shell.connect({ hostname: 'b', username: 'me' });
    expect((await b.exec(['test', '-e', '/tmp/f'])).exitCode).toBe(1);
    expect((await b.exec(['pwd'])).stdout.toString()).toBe('/home/me\n');
  });

  it('refuse connections or accounts when told to', async () => {
    const shell = memoryShell();
    const { faults } = shell.host('board1');
    faults.refuseConnection = true;
    await expect(shell.connect(target)).rejects.toEqual(code('connection-failed'));
    faults.refuseConnection = false;
    faults.rejectAuthentication = true;
    await expect(shell.connect(target)).rejects.toEqual(code('authentication-failed'));
    faults.rejectAuthentication = false;
    await shell.connect(target);
  });

  it('that hang let every call run into its deadline', async () => {
    const clock = fakeClock();
    const shell = memoryShell({ clock });
    const session = await shell.connect(target);
    shell.host('board1').faults.hang = true;
    const calls: readonly (() => Promise<unknown>)[] = [
      () => shell.connect(target),
      () => session.exec(['true'], { timeoutMs: 1_000 }),
      () => session.upload(source(Buffer.from('x')), '/tmp/f', { timeoutMs: 1_000 }),
      () => session.forward({ socketPath: '/run/s' }),
    ];
    for (const call of calls) await expect(clock.runUntil(call())).rejects.toEqual(code('deadline-exceeded'));
  });

  it('that hang still lose their connections', async () => {
    const shell = memoryShell();
    const session = await shell.connect(target);
    shell.host('board1').faults.hang = true;
    const lost = session.exec(['true']).catch((error: unknown) => error);
    shell.host('board1').dropConnections();
    expect(await lost).toEqual(code('connection-lost'));
  });

  it('with a full disk fail uploads and keep what they had', async () => {
    const shell = memoryShell();
    const { fs } = shell.host('board1');
    const session = await shell.connect(target);
    fs.capacityBytes = 1_000;
    await session.upload(source(Buffer.alloc(600, 'a')), '/tmp/f');
    await expect(session.upload(source(Buffer.alloc(600, 'b')), '/tmp/f')).rejects.toEqual(code('disk-full'));
    expect(await read(session, '/tmp/f')).toEqual(Buffer.alloc(600, 'a'));
    expect([fs.usedBytes, fs.list('/tmp')]).toEqual([600, ['f']]);
    fs.capacityBytes = 1_200;
    await session.upload(source(Buffer.alloc(600, 'b')), '/tmp/f');
    expect(fs.usedBytes).toBe(600);
  });

  it('that corrupt transfers are found out, and the next try succeeds', async () => {
    const shell = memoryShell();
    const { faults, fs } = shell.host('board1');
    const session = await shell.connect(target);
    const bytes = Buffer.from('precious');
    faults.corruptUploads = 1;
    await expect(session.upload(source(bytes), '/tmp/f')).rejects.toEqual(code('checksum-mismatch'));
    expect(fs.stat('/tmp/f')).toBe(undefined);
    await session.upload(source(bytes), '/tmp/f');
    faults.corruptDownloads = 1;
    await expect(read(session, '/tmp/f')).rejects.toEqual(code('checksum-mismatch'));
    expect(await read(session, '/tmp/f')).toEqual(bytes);
  });

  it('give up on a source that stalls', async () => {
    const clock = fakeClock();
    const session = await memoryShell({ clock }).connect(target);
    const stalling: ByteSource = {
      sizeBytes: 2,
      async *read() {
        yield Buffer.from('x');
        await new Promise<never>(() => {});
      },
    };
    await expect(clock.runUntil(session.upload(stalling, '/tmp/f'))).rejects.toThrow('gave no byte for 30000 ms');
  });

  it('report progress at most ten times a second', async () => {
    const clock = fakeClock(0);
    const session = await memoryShell({ clock }).connect(target);
    const slow: ByteSource = {
      sizeBytes: 100,
      async *read() {
        for (let byte = 0; byte < 100; byte += 1) {
          await new Promise<void>((resolve) => clock.timer(10, resolve));
          yield Buffer.from('x');
        }
      },
    };
    const reports: number[] = [];
    const onProgress = ({ transferredBytes }: { transferredBytes: number }): void =>
      void reports.push(transferredBytes);
    await clock.runUntil(session.upload(slow, '/tmp/f', { onProgress }));
    expect(reports).toEqual([1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 100]);
  });
});

describe('built-in commands of the memory shell', () => {
  const memory = memoryShell();
  const local = localShell();
  let scratch = '';
  const lines = Array.from({ length: 15 }, (_, index) => `line ${index}\n`).join('');

  beforeAll(async () => {
    scratch = await realpath(await mkdtemp(join(tmpdir(), 'bringup-memory-')));
    await writeFile(join(scratch, 'lines'), lines);
    await writeFile(join(scratch, 'empty'), '');
    const { fs } = memory.host('board1');
    fs.makeFolder(scratch, { recursive: true });
    fs.writeFile(join(scratch, 'lines'), lines);
    fs.writeFile(join(scratch, 'empty'), '');
  });
  afterAll(async () => {
    await local[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true });
  });

  function answers(argv: readonly string[], stdin: string): Promise<readonly object[]> {
    return Promise.all(
      [memory, local].map(async (shell) => {
        await using session = await shell.connect(target);
        const { exitCode, stdout, stderr } = await session.exec(argv, { cwd: scratch, stdin });
        return { exitCode, stdout: stdout.toString(), complains: stderr.byteLength > 0 };
      }),
    );
  }

  it.each(
    [
      [['echo', 'a', '', 'b']],
      [['echo', '-n', 'a']],
      [['echo']],
      [['printf', 'a\\tb\\n']],
      [['printf', '%s=%d\\n', 'a', '1', 'b', '2']],
      [['printf', '%s,%s;', 'a', 'b', 'c']],
      [['printf', '100%%']],
      [['cat', 'lines', '-']],
      [['cat', 'missing']],
      [['head', 'lines']],
      [['head', '-n', '3', 'lines']],
      [['head', '-n3', 'lines']],
      [['head', '-c', '7', 'lines']],
      [['head', '-n', '99', 'lines']],
      [['sha256sum', 'lines', 'empty']],
      [['sha256sum']],
      [['ls']],
      [['ls', 'lines']],
      [['mkdir', 'missing/folder']],
      [['mkdir', 'lines']],
      [['mkdir', '-p', 'deep/er/folder']],
      [['ls', 'deep']],
      [['mkdir', 'deep']],
      [['touch', '.hidden']],
      [['ls']],
      [['ls', '-A']],
      [['rm', '.hidden']],
      [['rm', 'deep']],
      [['rm', '-rf', 'deep', 'missing']],
      [['rm', 'missing']],
      [['rm', '-f', 'missing']],
      [['test']],
      [['test', '']],
      [['test', 'x']],
      [['test', '!', 'x']],
      [['test', '-z', '']],
      [['test', '-n', '']],
      [['test', 'a', '=', 'a']],
      [['test', 'a', '!=', 'a']],
      [['test', '!', 'a', '=', 'b']],
      [['test', '-e', 'lines']],
      [['test', '-f', '.']],
      [['test', '-d', '.']],
      [['test', '-s', 'empty']],
      [['test', '-x', 'lines']],
      [['[', '-f', 'lines', ']']],
      [['env', 'A=b', 'printf', '%s', 'c']],
      [['env', 'A=b', 'no-such-command-here']],
    ]
      .flat()
      .map((argv) => [argv.join(' '), argv] as const),
  )('answer as the real ones: %s', async (_title, argv) => {
    const [fake, real] = await answers(argv, 'from stdin\n');
    expect(fake).toEqual(real);
  });

  it('format text as the real printf does', async () => {
    const word = fc.constantFrom('a', '', 'two words', '%s', 'ä', '-1', '\\n');
    const format = fc.array(fc.constantFrom('%s', '%%', 'x', '\\n', '\\t', '\\\\', '\\101', ' '), {
      minLength: 1,
      maxLength: 6,
    });
    await using real = await local.connect(target);
    await using fake = await memory.connect(target);
    await fc.assert(
      fc.asyncProperty(format, fc.array(word, { maxLength: 4 }), async (parts, args) => {
        const argv = ['printf', parts.join(''), ...args];
        expect((await fake.exec(argv)).stdout.toString()).toBe((await real.exec(argv)).stdout.toString());
      }),
      { numRuns: 100 },
    );
  });
});
