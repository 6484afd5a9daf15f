import { execFileSync } from 'node:child_process';
import { isBringupError } from '@bringup/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { commandLine, pidMarker, quoteWord } from '../src/quote.ts';

const word = fc
  .oneof(
    fc.string({ unit: 'binary', maxLength: 30 }),
    fc.constantFrom("'", "''", '\\', '$(id)', '`id`', '\n', '!', '*', '~', '-n'),
  )
  .map((text) => text.replaceAll('\0', ''));

const sh = (line: string): { stdout: string } => ({
  stdout: execFileSync('/bin/sh', ['-c', line], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
});

describe('quoting', () => {
  it('makes one word of any text for a real sh', () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 6 }), (words) => {
        const { stdout } = sh(`printf '%s\\0' ${words.map(quoteWord).join(' ')}`);
        expect(stdout).toBe(words.map((text) => `${text}\0`).join(''));
      }),
      { numRuns: 150 },
    );
  });

  it('gives arguments, variables and folder to the command unchanged', () => {
    fc.assert(
      fc.property(word, word, (argument, value) => {
        const line = commandLine(['sh', '-c', 'printf "%s\\0%s\\0%s" "$PWD" "$VALUE" "$1"', 'x', argument], {
          cwd: '/usr',
          env: { VALUE: value },
        });
        expect(sh(line).stdout).toBe(`/usr\0${value}\0${argument}`);
      }),
      { numRuns: 100 },
    );
  });

  it('says the process id of the command itself, before anything else on standard error', () => {
    const line = commandLine(['sh', '-c', 'echo $$; echo more >&2']);
    const stderrToo = execFileSync('/bin/sh', ['-c', `{ ${line}; } 2>&1`], { encoding: 'utf8' });
    const [marker, pid] = stderrToo.split('\n');
    expect(marker).toBe(`${pidMarker}${pid}`);
  });

  it('takes a folder called - for a folder', () => {
    expect(commandLine(['true'], { cwd: '-' })).toContain(`cd -- './-'`);
  });

  it.each<[string, () => string, string]>([
    ['an empty argv', () => commandLine([]), 'argv'],
    ['a NUL in an argument', () => commandLine(['a', 'b\0']), 'argv.1'],
    ['half of a surrogate pair', () => commandLine(['a', '\udfff']), 'argv.1'],
    ['a NUL in the folder', () => commandLine(['a'], { cwd: '\0' }), 'cwd'],
    ['a variable name with a command in it', () => commandLine(['a'], { env: { 'A;id': '' } }), 'env'],
    ['a line the kernel would not take', () => commandLine(['a', 'x'.repeat(140_000)]), 'argv'],
  ])('refuses %s and says where it is', (_what, build, path) => {
    const error = (() => {
      try {
        return build();
      } catch (thrown) {
        return thrown;
      }
    })();
    if (!isBringupError(error, 'invalid-input')) expect.fail(`got ${String(error)}`);
    expect(error.details).toMatchObject({ issues: [{ path }] });
  });
});
