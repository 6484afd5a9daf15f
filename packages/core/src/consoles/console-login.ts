import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { hideSecretsIn, type Secret } from '../model/secret.ts';
import type { ConsoleSession, ExpectOutcome } from './console-session.ts';
import { freshLine, interruptedLine } from './fresh-line.ts';
import type { Pattern } from './patterns.ts';

/** Who logs in on a console, and how it asks. */
export interface ConsoleLogin {
  /** Default `root`. */
  readonly user?: string;
  /** Needed only when the console asks for one. */
  readonly password?: Secret;
  /** What asks for the user. Default: a line that ends with `login:`. */
  readonly userPrompt?: Pattern;
  /** What asks for the password. Default: a line that ends with `Password:`. */
  readonly passwordPrompt?: Pattern;
}

/** What reaching a shell needs. */
export interface ReachShellOptions extends CallOptions {
  readonly login: ConsoleLogin;
  readonly clock: Clock;
  /** Default `limits.consoleIdleMs`. */
  readonly idleMs?: number;
  /**
   * Whether what wakes the console up interrupts (^C) what runs there: each time, or once a question was not answered.
   * Default: only a shell that waits for the rest of a command.
   */
  readonly interrupt?: 'each time' | 'unanswered';
  /** Fresh text for a question only a shell answers, and the answer. */
  readonly probe: () => { readonly command: string; readonly answer: string };
}

const defaultUserPrompt = /(?<!last )login: ?$/i;
const defaultPasswordPrompt = /password: ?$/i;
/** PS2 as POSIX has it: somebody left in the middle of a quote. */
const halfTyped = /(?:^|\n)> ?$/;
const refused = /Login incorrect|Authentication failure|Permission denied/i;

/**
 * Gets to a shell that answers: logs in where the console asks for it, and types only while the
 * console is quiet, so that it disturbs neither a boot nor a prompt.
 * @throws `authentication-failed`, `console-closed` or what broke it, `deadline-exceeded`, `aborted`.
 */
export async function reachShell(session: ConsoleSession, options: ReachShellOptions): Promise<void> {
  try {
    await logIn(session, options);
  } catch (error) {
    // It says what the console says, which has heard the password.
    throw hideSecretsIn(error, options.login.password);
  }
}

async function logIn(session: ConsoleSession, options: ReachShellOptions): Promise<void> {
  const { login, clock } = options;
  const timeoutMs = options.timeoutMs ?? limits.consoleShellTimeoutMs;
  const until = clock.now() + timeoutMs;
  const user = login.user ?? 'root';
  let asked = false;
  let quietRounds = 0;
  let answers: string[] = [];
  for (;;) {
    const patterns = [
      login.userPrompt ?? defaultUserPrompt,
      login.passwordPrompt ?? defaultPasswordPrompt,
      refused,
      ...answers,
    ];
    const outcome = await session.expect(patterns, {
      timeoutMs: Math.min(options.idleMs ?? limits.consoleIdleMs, until - clock.now()),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (outcome.type === 'end') throw consoleGone(outcome);
    if (outcome.type === 'match' && outcome.index > 2) return;
    if (clock.now() >= until) {
      throw new BringupError(
        'deadline-exceeded',
        `no shell answered on the console within ${timeoutMs} ms; it says: ${tailOf(outcome)}`,
        { retryable: true, details: { timeoutMs, tail: tailOf(outcome) } },
      );
    }
    if (outcome.type === 'timeout') {
      // An empty line first: it wakes a getty that waits for a key, and shows a prompt to look at.
      quietRounds += 1;
      const interrupts =
        options.interrupt === 'each time' ||
        (options.interrupt === 'unanswered' && quietRounds > 2) ||
        halfTyped.test(outcome.tail);
      if (quietRounds % 2 === 1) await session.send(interrupts ? interruptedLine : freshLine, options);
      else {
        const { command, answer } = options.probe();
        answers = [answer, ...answers].slice(0, 4);
        await session.send(`${command}\n`, options);
      }
    } else if (outcome.index === 0) {
      if (asked) throw loginRefused(user, 'the console asked for the user again');
      asked = true;
      quietRounds = 1;
      await session.send(`${user}\n`, options);
    } else if (outcome.index === 1) {
      if (login.password === undefined) throw loginRefused(user, 'the console asks for a password and none was given');
      quietRounds = 1;
      await session.send(`${login.password.reveal()}\n`, options);
    } else if (asked) throw loginRefused(user, 'the console refused the login');
  }
}

/** The error of a console that ended while somebody needed it. */
export function consoleGone(outcome: Extract<ExpectOutcome, { type: 'end' }>): BringupError {
  return (
    outcome.error ??
    new BringupError('console-closed', `the console ended; it said last: ${outcome.tail}`, {
      details: { tail: outcome.tail },
    })
  );
}

function tailOf(outcome: ExpectOutcome): string {
  return outcome.type === 'match' ? outcome.before : outcome.tail;
}

function loginRefused(user: string, why: string): BringupError {
  return new BringupError('authentication-failed', `cannot log in as ${user} on the console: ${why}`, {
    details: { user },
  });
}
