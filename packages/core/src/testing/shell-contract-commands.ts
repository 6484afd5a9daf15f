import { argumentOfBytes, bytesOfArgument } from '../model/argument.ts';
import { bytesSource, eventually, failure, noise, type ShellHarness } from './shell-contract-harness.ts';
import { testFramework } from './test-framework.ts';

const printArguments = 'for a do printf "%s\\0" "$a"; done';

/** What `exec` promises. */
export function commandContract(harness: ShellHarness): void {
  const { describe, expect, it } = testFramework().vitest;
  const { fc } = testFramework();
  const argument = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }).map((text) => text.replaceAll('\0', '')),
    fc.uint8Array({ min: 1, maxLength: 40 }).map(argumentOfBytes),
    fc.constantFrom(
      '',
      ' ',
      '-n',
      '--',
      '-',
      "'",
      '"',
      '`id`',
      '$HOME',
      '$(id)',
      '*',
      '?',
      '~',
      '\\',
      '\\\\',
      '\n',
      'a\nb\n',
      '\r\n',
      '\t',
      '!',
      '#',
      '&',
      ';',
      '|',
      '>',
      '%s',
      '\\0',
      "'\\''",
      '{a,b}',
      '[a]',
      'ä€😀',
      '\u007f\u001b[0m',
      'A=b',
    ),
  );
  const argumentLists = fc.array(argument, { minLength: 1, maxLength: 8 });
  const terminated = (argv: readonly string[]): Buffer =>
    Buffer.concat(argv.flatMap((arg) => [bytesOfArgument(arg), Buffer.of(0)]));

  describe('exec', () => {
    it('hands over arguments of any bytes unchanged', async () => {
      const session = await harness.session();
      await fc.assert(
        fc.asyncProperty(argumentLists, async (argv) => {
          const { stdout } = await session.exec(['printf', '%s\\0', ...argv]);
          expect(stdout).toEqual(terminated(argv));
        }),
        { numRuns: 100 },
      );
    }, 60_000);

    harness.needing('posix-sh')(
      'hands over arguments of any bytes unchanged to a real script',
      async () => {
        const session = await harness.session();
        await fc.assert(
          fc.asyncProperty(argumentLists, async (argv) => {
            const { stdout } = await session.exec(['sh', '-c', printArguments, 'x', ...argv]);
            expect(stdout).toEqual(terminated(argv));
          }),
          { numRuns: 100 },
        );
      },
      60_000,
    );

    it('hands over an argument of 32 KiB', async () => {
      const session = await harness.session();
      const long = "it's long; ".repeat(3_000).slice(0, 32 * 1024);
      expect((await session.exec(['printf', '%s', long])).stdout.toString()).toBe(long);
    });

    it('gives the exit code as a result, not as an error', async () => {
      const session = await harness.session();
      expect(await session.exec(['true'])).toMatchObject({ exitCode: 0, signal: null });
      expect(await session.exec(['false'])).toMatchObject({ exitCode: 1, signal: null });
    });

    harness.needing('posix-sh')('tells an exit code above 128 from a signal', async () => {
      const session = await harness.session();
      expect(await session.exec(['sh', '-c', 'exit 143'])).toMatchObject({ exitCode: 143, signal: null });
      expect(await session.exec(['sh', '-c', 'kill -TERM $$'])).toMatchObject({ exitCode: null, signal: 'SIGTERM' });
    });

    it('exits with 127 and says so when there is no such command', async () => {
      const session = await harness.session();
      const result = await session.exec(['bringup-no-such-command', 'x']);
      expect(result).toMatchObject({ exitCode: 127, signal: null });
      expect(result.stderr.toString()).toMatch(/not found/);
    });

    it('keeps standard output and standard error apart', async () => {
      const session = await harness.session();
      const failed = await session.exec(['ls', harness.path('missing')]);
      expect(failed.exitCode).not.toBe(0);
      expect(failed.stdout.toString()).toBe('');
      expect(failed.stderr.toString()).toMatch(/No such file/i);
    });

    it('feeds standard input byte for byte and closes it', async () => {
      const session = await harness.session();
      const bytes = noise(1024 * 1024 + 3);
      const { stdout } = await session.exec(['cat'], { stdin: bytes });
      expect(stdout.equals(bytes)).toBe(true);
      expect((await session.exec(['cat'], { stdin: 'text: ä\n' })).stdout.toString()).toBe('text: ä\n');
    });

    it('gives a command that was given no input an empty one', async () => {
      const session = await harness.session();
      expect(await session.exec(['cat'])).toMatchObject({ exitCode: 0, stdout: Buffer.alloc(0) });
    });

    it('does not mind a command that ends without reading its input', async () => {
      const session = await harness.session();
      expect(await session.exec(['true'], { stdin: noise(4 * 1024 * 1024) })).toMatchObject({ exitCode: 0 });
    });

    it('adds variables to the environment, whatever their values', async () => {
      const session = await harness.session();
      const value = `two words 'quoted' "twice" $HOME \`id\` = ä`;
      const { stdout } = await session.exec(['env'], { env: { BRINGUP_A: value, _b1: '' } });
      const lines = stdout.toString().split('\n');
      expect(lines).toContain(`BRINGUP_A=${value}`);
      expect(lines).toContain('_b1=');
      expect(lines.some((line) => line.startsWith('PATH=') || line.startsWith('HOME='))).toBe(true);
    });

    it('runs in the folder it is told, whatever its name', async () => {
      const session = await harness.session();
      const cwd = harness.path(`it's a "folder" $HOME`);
      await session.exec(['mkdir', cwd]);
      expect((await session.exec(['pwd'], { cwd })).stdout.toString()).toBe(`${cwd}\n`);
    });

    it('does not run at all when its folder is missing', async () => {
      const session = await harness.session();
      const mark = harness.path('mark');
      const cwd = harness.path('missing');
      const result = await session.exec(['mkdir', mark], { cwd }).catch(() => ({ exitCode: 'rejected' }));
      expect(result.exitCode).not.toBe(0);
      expect((await session.exec(['test', '-e', mark])).exitCode).toBe(1);
    });

    it.each([
      ['no command', [], {}],
      ['a NUL in an argument', ['echo', 'a\0b'], {}],
      ['half of a surrogate pair in an argument', ['echo', 'a\ud83d'], {}],
      ['bytes that are no text in a variable', ['env'], { env: { A: argumentOfBytes(Buffer.of(0xff)) } }],
      ['bytes that are no text in a folder', ['pwd'], { cwd: `/${argumentOfBytes(Buffer.of(0xff))}` }],
      ['a variable name with a space', ['env'], { env: { 'A B': '1' } }],
      ['a variable name that is a command', ['env'], { env: { 'A;id': '1' } }],
      ['an empty variable name', ['env'], { env: { '': '1' } }],
      ['a NUL in a variable', ['env'], { env: { A: 'a\0b' } }],
    ])('refuses %s', async (_what, argv, options) => {
      const session = await harness.session();
      await failure(() => session.exec(argv, options), 'invalid-input');
      await failure(() => session.spawn(argv, options), 'invalid-input');
    });

    it('ends a command that says more than allowed', async () => {
      const session = await harness.session();
      const path = harness.path();
      await session.upload(bytesSource(noise(300_000)), path);
      await failure(session.exec(['cat', path], { maxOutputBytes: 299_999 }), 'command-failed');
      const { stdout } = await session.exec(['cat', path], { maxOutputBytes: 300_000 });
      expect(stdout.byteLength).toBe(300_000);
    });

    harness.needing('posix-sh')('ends a command that never stops talking', async () => {
      const session = await harness.session();
      const endless = session.exec(['sh', '-c', 'while :; do echo abcdefgh >&2; done'], { maxOutputBytes: 100_000 });
      await failure(endless, 'command-failed');
    });

    it('does not start what was aborted before', async () => {
      const session = await harness.session();
      const mark = harness.path('mark');
      await failure(session.exec(['mkdir', mark], { signal: AbortSignal.abort() }), 'aborted');
      await failure(session.spawn(['mkdir', mark], { signal: AbortSignal.abort() }), 'aborted');
      expect((await session.exec(['test', '-e', mark])).exitCode).toBe(1);
    });

    it('rejects with aborted when aborted on the way', async () => {
      const session = await harness.session();
      const abort = new AbortController();
      const running = session.exec(['sleep', '300'], { signal: abort.signal });
      setImmediate(() => abort.abort(new Error('enough')));
      await failure(running, 'aborted');
      expect((await session.exec(['true'])).exitCode).toBe(0);
    });

    harness.needing('posix-sh')('sends TERM to the process of an aborted call', async () => {
      const session = await harness.session();
      const [ready, ended] = [harness.path('ready'), harness.path('ended')];
      const script = 'trap \'mkdir "$2"; exit 1\' TERM; mkdir "$1"; while :; do sleep 0.05; done';
      const abort = new AbortController();
      const running = session.exec(['sh', '-c', script, 'x', ready, ended], { signal: abort.signal });
      const failed = failure(running, 'aborted');
      const exists = async (path: string): Promise<boolean> =>
        (await session.exec(['test', '-e', path])).exitCode === 0;
      await eventually(() => exists(ready));
      abort.abort();
      await failed;
      await eventually(() => exists(ended));
    });

    it('rejects with deadline-exceeded when it takes too long', async () => {
      const session = await harness.session();
      await failure(session.exec(['sleep', '300'], { timeoutMs: 100 }), 'deadline-exceeded');
      expect((await session.exec(['true'])).exitCode).toBe(0);
    });

    it('keeps many commands at a time apart', async () => {
      const session = await harness.session();
      const numbers = Array.from({ length: 60 }, (_, index) => `${index}`);
      const results = await Promise.all(
        numbers.map((number) => session.exec(['cat', '-'], { stdin: `${number}:${'x'.repeat(5_000)}` })),
      );
      expect(results.map(({ stdout }) => stdout.toString().split(':')[0])).toEqual(numbers);
    });
  });
}
