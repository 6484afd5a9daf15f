import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Console } from '../../src/contracts/console.ts';
import { ConsoleSession } from '../../src/consoles/console-session.ts';
import { ConsoleShell } from '../../src/consoles/console-shell.ts';
import { typedCommand } from '../../src/consoles/typed-command.ts';
import { limits } from '../../src/limits.ts';
import { argumentOfBytes, bytesOfArgument } from '../../src/model/argument.ts';
import { shellConsole } from './real-shell.ts';

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

async function openShell(): Promise<ConsoleShell> {
  const session = cleanup.use(new ConsoleSession({ console: cleanup.use(shellConsole('terminal')), typeBytes: 256 }));
  return ConsoleShell.open({ session, quietKernel: false, idleMs: 50 });
}

/** What arrives, as hex: the terminal would show some of it in its own way. */
const tellArguments = 'for word; do printf "%s\\0" "$word"; done | od -An -v -tx1';

async function arrived(shell: ConsoleShell, words: readonly string[]): Promise<string> {
  const { exitCode, output } = await shell.run(['sh', '-c', tellArguments, 'sh', ...words]);
  expect(exitCode).toBe(0);
  return output.replaceAll(/\s/g, '');
}

const hexOf = (words: readonly string[]): string =>
  words.map((word) => `${bytesOfArgument(word).toString('hex')}00`).join('');

/** What shells, terminals and line editors act on must be frequent. */
const special = fc.constantFrom(
  ...'\x01\x03\x04\b\t\n\r\x11\x12\x13\x15\x16\x17\x1a\x1b\x7f\'"`$\\!*?#~&;|<>(){}[]%^= -é€😀',
);
const character = fc.oneof(
  special,
  fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
  fc.integer({ min: 0x80, max: 0xff }).map((byte) => argumentOfBytes(Buffer.of(byte))),
);
const word = fc.array(character, { maxLength: 6 }).map((characters) => characters.join('').replaceAll('\0', ''));

describe('an argv typed into a console', () => {
  it('arrives unchanged in a real sh on a terminal, whatever bytes it holds: 10,000 of them', async () => {
    const shell = await openShell();
    const argvs = fc.sample(fc.array(word, { minLength: 1, maxLength: 2 }), { numRuns: 10_000, seed: 20_260_101 });
    // A command takes a hundred at once; each word is told apart from the next.
    for (let at = 0; at < argvs.length; at += 100) {
      const words = argvs.slice(at, at + 100).flat();
      expect(await arrived(shell, words), `argvs from ${at} on`).toBe(hexOf(words));
    }
  });

  it('may hold words that are longer than a line of the terminal', async () => {
    const shell = await openShell();
    const words = ['x'.repeat(5_000), `it's\t${'é'.repeat(500)}\n\n`, '', '\n'.repeat(1_500)];
    expect(await arrived(shell, words)).toBe(hexOf(words));
    // In the console's own shell.
    const variables = await shell.run(['eval', 'set | grep -c ^bringup']);
    expect(variables.output).toBe('0\n');
  });

  it('is never typed as a line that a terminal would cut short', async () => {
    const typed: Uint8Array[] = [];
    const real = cleanup.use(shellConsole('pipe'));
    const console: Console = {
      output: real.output,
      write: (data) => (typed.push(data), real.write(data)),
      [Symbol.asyncDispose]: () => real[Symbol.asyncDispose](),
    };
    const session = cleanup.use(new ConsoleSession({ console, typeBytes: 4_096 }));
    const shell = await ConsoleShell.open({ session, quietKernel: false, idleMs: 50 });
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 2_000 }),
      fc.integer({ min: 700, max: 1_100 }).map((count) => 'x'.repeat(count)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(text, { maxLength: 4 }), async (raw) => {
        typed.length = 0;
        await shell.run([':', ...raw.map((word) => word.replaceAll('\0', ''))]);
        for (const line of Buffer.concat(typed).toString('latin1').split('\n')) {
          expect(line.length).toBeLessThanOrEqual(limits.consoleInputLineBytes);
          expect(line).toMatch(/^[\x20-\x7e]*$/);
        }
      }),
      { numRuns: 200 },
    );
  });

  it.each(['a\0b', 'half of \ud83d'])('that is none is refused: %j', (word) => {
    expect(() => typedCommand(['echo', word])).toThrow(
      expect.objectContaining({ code: 'invalid-input', message: expect.stringContaining('argv.1') }),
    );
  });

  it('may have more words than a line of the terminal holds', async () => {
    const shell = await openShell();
    const words = Array.from({ length: 1_000 }, (_, index) => `word-${index}`);
    expect(await arrived(shell, words)).toBe(hexOf(words));
  });
});
