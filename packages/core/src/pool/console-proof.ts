import { ConsoleSession } from '../consoles/console-session.ts';
import { ConsoleShell } from '../consoles/console-shell.ts';
import { freshLine } from '../consoles/fresh-line.ts';
import { ubootPrompt } from '../consoles/uboot.ts';
import type { ConsoleLogin } from '../consoles/console-login.ts';
import type { Console } from '../contracts/console.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { CommandRunner } from './probe.ts';

/** Who answered on a console. */
export type ConsoleAnswer = 'shell' | 'login' | 'u-boot';

/** What a console is asked with. */
export interface ConsoleQuestion {
  /** Name of the board, for messages. */
  readonly name: string;
  readonly console: Console;
  readonly login: ConsoleLogin | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly signal: AbortSignal;
}

/** A bootloader; then a login; then a shell. */
const prompts: readonly (readonly [RegExp, ConsoleAnswer])[] = [
  [ubootPrompt, 'u-boot'],
  [/(?<!last )login: ?$|password: ?$/i, 'login'],
  [/[#$%>] ?$/, 'shell'],
];

/**
 * Proves that somebody answers on a serial console: an empty line must bring a prompt. Where that is a shell, or a login
 * that was given, `look` is called with it. The console stays open.
 * @throws `connection-failed` when nobody answers, and those of the console and the login.
 */
export async function askConsole<T>(
  question: ConsoleQuestion,
  look: (shell: CommandRunner) => Promise<T>,
): Promise<{ readonly answer: ConsoleAnswer; readonly found?: T }> {
  const { console, clock, random, signal, login } = question;
  await using session = new ConsoleSession({ console, clock });
  const answer = await firstAnswer(question, session);
  if (answer === 'u-boot' || (answer === 'login' && login === undefined)) return { answer };
  const shell = await ConsoleShell.open({ session, clock, random, signal, ...(login !== undefined && { login }) });
  return { answer, found: await look(commandRunner(shell)) };
}

async function firstAnswer({ name, clock, signal }: ConsoleQuestion, session: ConsoleSession): Promise<ConsoleAnswer> {
  const until = clock.now() + limits.consoleProofMs;
  const patterns = prompts.map(([pattern]) => pattern);
  let tail = '';
  let typed = false;
  for (;;) {
    let quiet = true;
    const outcome = await session.expect(patterns, {
      signal,
      timeoutMs: Math.max(0, Math.min(limits.consoleIdleMs, until - clock.now())),
      onPassed: () => (quiet = false),
    });
    // A prompt that was not asked for proves only that the board speaks, not that it hears.
    if (outcome.type === 'match' && typed) return prompts[outcome.index]?.[1] ?? 'shell';
    quiet &&= outcome.type === 'match' || outcome.tail === tail;
    if (outcome.type !== 'match') tail = outcome.tail;
    if (outcome.type !== 'end' && clock.now() < until) {
      // Typing into a boot could stop it.
      if (quiet) await session.send(freshLine, { signal });
      typed ||= quiet;
      continue;
    }
    throw new BringupError(
      'connection-failed',
      `nobody answers on the serial console of ${name}` +
        (tail === '' ? '; is it powered, and are the device and the baud rate right?' : `; it says: ${tail}`),
      {
        retryable: true,
        details: { board: name, tail },
        ...(outcome.type === 'end' && outcome.error !== undefined && { cause: outcome.error }),
      },
    );
  }
}

/** A shell on a console as something that runs commands; standard error comes with standard output. */
export function commandRunner(shell: ConsoleShell): CommandRunner {
  return {
    async exec(argv, { signal, timeoutMs = limits.execTimeoutMs } = {}) {
      const { exitCode, output } = await shell.run(argv, { timeoutMs, ...(signal !== undefined && { signal }) });
      return { exitCode, signal: null, stdout: Buffer.from(output), stderr: Buffer.alloc(0) };
    },
  };
}
