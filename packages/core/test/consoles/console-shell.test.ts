import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { ConsoleSession } from '../../src/consoles/console-session.ts';
import { ConsoleShell, type ConsoleShellOptions } from '../../src/consoles/console-shell.ts';
import { quoteShellCommand } from '../../src/consoles/quote.ts';
import { Secret } from '../../src/model/secret.ts';
import { fakeClock } from '../../src/testing/clock.ts';
import { MemoryLine } from '../../src/testing/memory-console.ts';
import { seededRandom } from '../../src/testing/random.ts';
import { shellConsole } from './real-shell.ts';

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

async function openReal(kind: 'pipe' | 'terminal', noiseSeed?: number): Promise<ConsoleShell> {
  const console = cleanup.use(shellConsole(kind, noiseSeed === undefined ? {} : { noise: seededRandom(noiseSeed) }));
  const session = cleanup.use(new ConsoleSession({ console }));
  return ConsoleShell.open({ session, quietKernel: false, idleMs: 50 });
}

describe.each(['pipe', 'terminal'] as const)('a real sh on a %s', (kind) => {
  it('runs commands and tells their status and output to the byte', async () => {
    const shell = await openReal(kind);
    expect(await shell.run(['printf', '%s', 'no line end'])).toEqual({
      exitCode: 0,
      output: 'no line end',
      truncated: false,
    });
    expect(await shell.run(['printf', 'a\\n\\nb\\n'])).toEqual({ exitCode: 0, output: 'a\n\nb\n', truncated: false });
    expect(await shell.run(['sh', '-c', 'echo oops >&2; exit 127'])).toEqual({
      exitCode: 127,
      output: 'oops\n',
      truncated: false,
    });
    expect(await shell.run(['true'])).toEqual({ exitCode: 0, output: '', truncated: false });
  });

  it('hands arguments over unchanged', async () => {
    const shell = await openReal(kind);
    const argument = `it's "$HOME" \`x\` \\ * ; & | # !`;
    expect((await shell.run(['printf', '%s', argument])).output).toBe(argument);
  });

  it('gives no input, so that a command cannot eat the next one', async () => {
    const shell = await openReal(kind);
    expect(await shell.run(['cat'])).toEqual({ exitCode: 0, output: '', truncated: false });
  });

  it('bounds the output and says so', async () => {
    const shell = await openReal(kind);
    const result = await shell.run(['sh', '-c', 'i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done'], {
      maxOutputBytes: 100,
    });
    expect(result).toMatchObject({ exitCode: 0, truncated: true });
    expect(result.output).toHaveLength(100);
    expect(await shell.run(['echo', 'next'])).toMatchObject({ output: 'next\n' });
  });

  it('finds its answers in the noise of a talkative kernel', async () => {
    const shell = await openReal(kind, 42);
    for (let i = 0; i < 25; i += 1) {
      const text = `line ${i} of some text\nand ${i * i} more`;
      expect(await shell.run(['sh', '-c', 'printf %s "$1"; exit "$2"', 'sh', text, String(i)])).toEqual({
        exitCode: i,
        output: text,
        truncated: false,
      });
    }
  });
});

describe('a real sh on a terminal', () => {
  it('is interrupted by a deadline and runs the next command all the same', async () => {
    const shell = await openReal('terminal');
    await expect(shell.run(['sleep', '1000'], { timeoutMs: 200 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
    expect(await shell.run(['echo', 'still here'])).toMatchObject({ exitCode: 0, output: 'still here\n' });
  });

  it('is interrupted by an abort and runs the next command all the same', async () => {
    const shell = await openReal('terminal');
    const abort = new AbortController();
    const running = shell.run(['sleep', '1000'], { signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toMatchObject({ code: 'aborted' });
    expect(await shell.run(['echo', 'still here'])).toMatchObject({ output: 'still here\n' });
  });
});

describe('a real sh on a terminal that somebody has left', () => {
  async function left(typed: string, options: Partial<ConsoleShellOptions> = {}): Promise<ConsoleShell> {
    const console = cleanup.use(shellConsole('terminal'));
    await console.write(Buffer.from(typed));
    const session = cleanup.use(new ConsoleSession({ console }));
    return ConsoleShell.open({ session, quietKernel: false, idleMs: 50, ...options });
  }

  it('in the middle of a line does not run what there is of it', async () => {
    const folder = cleanup.adopt(await mkdtemp(join(tmpdir(), 'bringup-left-')), (path) =>
      rm(path, { recursive: true }),
    );
    const shell = await left(`rm -rf ${folder}`);
    expect(await shell.run(['ls', '-d', folder])).toMatchObject({ exitCode: 0, output: `${folder}\n` });
  });

  it('in the middle of a quote answers', async () => {
    const shell = await left("printf '%s' 'one\ntwo\n");
    expect(await shell.run(['echo', 'mine'])).toMatchObject({ exitCode: 0, output: 'mine\n' });
  });

  it('with a program that reads it answers when it may be interrupted, and else it says what it heard', async () => {
    const reading = 'echo reading; cat > /dev/null\n';
    const shell = await left(reading, { interrupt: true });
    expect(await shell.run(['echo', 'mine'])).toMatchObject({ exitCode: 0, output: 'mine\n' });
    await expect(left(reading, { timeoutMs: 1_000 })).rejects.toMatchObject({ code: 'deadline-exceeded' });
  });
});

/** A board that asks for a login and then echoes and answers like a shell. */
function board(options: { readonly password?: string; readonly accept?: boolean } = {}) {
  const line = new MemoryLine('board-1');
  const clock = fakeClock();
  const typed: string[] = [];
  let state: 'user' | 'password' | 'shell' = 'user';
  let buffer = '';
  const answer = async (input: string): Promise<void> => {
    typed.push(input);
    line.say(`${state === 'password' ? '' : input}\r\n`);
    if (state === 'user' && input !== '') state = options.password === undefined ? 'shell' : 'password';
    else if (state === 'password') {
      state = input === options.password && options.accept !== false ? 'shell' : 'user';
      line.say(state === 'shell' ? 'Last login: ' : 'Login incorrect\r\n');
      await nextTurn();
      if (state === 'shell') line.say('Tue Jan  1 00:00:00 on ttyS0\r\n');
    } else if (state === 'shell') line.say(run(input));
    line.say({ user: 'board login: ', password: 'Password: ', shell: '# ' }[state]);
  };
  const run = (command: string): string => {
    const [, probe] = /^echo 'bring''up-(\w+)'$/.exec(command) ?? [];
    if (probe !== undefined) return `bringup-${probe}\r\n`;
    const [, begin, end] = /^printf %s 'bring''up-(\w+)';.*'bring''up-(\w+)' "\$\?"$/.exec(command) ?? [];
    return begin === undefined ? '' : `bringup-${begin}fine\r\n\nbringup-${end} 0 .\r\n`;
  };
  void (async () => {
    for await (const data of line.input()) {
      buffer += Buffer.from(data).toString();
      for (let at = buffer.indexOf('\n'); at >= 0; at = buffer.indexOf('\n')) {
        const input = buffer.slice(0, at).replace(/^.*\x15/, '');
        buffer = buffer.slice(at + 1);
        await answer(input);
      }
    }
  })();
  const session = new ConsoleSession({ console: line.open(), clock });
  const open = (more: Partial<ConsoleShellOptions> = {}): Promise<ConsoleShell> =>
    clock.runUntil(ConsoleShell.open({ session, clock, random: seededRandom(1), quietKernel: false, ...more }));
  return { line, clock, typed, open };
}

describe('logging in on a console', () => {
  it('gives the user and the password when asked, and is not fooled by "Last login:"', async () => {
    const { line, typed, open } = board({ password: 'hunter2' });
    line.say('board login: ');
    const shell = await open({ login: { user: 'ada', password: new Secret('hunter2') } });
    expect(shell).toBeInstanceOf(ConsoleShell);
    expect(typed.slice(0, 2)).toEqual(['ada', 'hunter2']);
    expect(typed.filter((input) => input === 'ada')).toHaveLength(1);
  });

  it('wakes a console that says nothing', async () => {
    const { typed, open } = board();
    await open();
    expect(typed.slice(0, 2)).toEqual(['', 'root']);
  });

  it('says when the login is refused, without the password', async () => {
    const { line, open } = board({ password: 'right' });
    line.say('board login: ');
    const error = await open({ login: { password: new Secret('wrong-secret') } }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'authentication-failed', details: { user: 'root' } });
    expect(JSON.stringify(error)).not.toContain('wrong-secret');
  });

  it('says when a password is needed and none was given', async () => {
    const { line, open } = board({ password: 'right' });
    line.say('board login: ');
    await expect(open()).rejects.toMatchObject({ code: 'authentication-failed' });
  });

  it('gives up on a console that never answers', async () => {
    const line = new MemoryLine('dead');
    const clock = fakeClock();
    const session = new ConsoleSession({ console: line.open(), clock });
    await expect(clock.runUntil(ConsoleShell.open({ session, clock, timeoutMs: 10_000 }))).rejects.toMatchObject({
      code: 'deadline-exceeded',
    });
  });

  it('says when the console ends meanwhile', async () => {
    const line = new MemoryLine('board-1');
    const clock = fakeClock();
    const session = new ConsoleSession({ console: line.open(), clock });
    const opening = ConsoleShell.open({ session, clock });
    line.end();
    await expect(opening).rejects.toMatchObject({ code: 'console-closed' });
  });

  it('keeps the kernel quiet when it may', async () => {
    const { typed, open } = board();
    await open({ quietKernel: true });
    expect(typed.at(-1)).toContain('; dmesg -n 1 </dev/null; ');
  });
});

describe('quoting for sh', () => {
  it('gives a command that prints exactly its arguments', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 20 }), { minLength: 1, maxLength: 5 }), (raw) => {
        const words = raw.map((word) => word.replaceAll('\0', ''));
        const out = execFileSync('sh', ['-c', quoteShellCommand(['printf', '%s\\0', ...words])]);
        expect(out.toString()).toBe(words.map((word) => `${Buffer.from(word).toString()}\0`).join(''));
      }),
      { numRuns: 100 },
    );
  });

  it('does not start a compound command with a keyword', () => {
    expect(quoteShellCommand(['if', 'if'])).toBe("'if' if");
  });

  it('refuses a NUL byte', () => {
    expect(() => quoteShellCommand(['a\0b'])).toThrow(TypeError);
  });
});
