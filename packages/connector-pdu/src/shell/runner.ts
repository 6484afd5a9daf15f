import { userInfo } from 'node:os';
import { BringupError, hideSecrets, isBringupError } from '@bringup/core';
import type { Secret, ShellConnector, ShellTarget } from '@bringup/core';
import * as v from 'valibot';
import type { DriverCall } from '../driver.ts';
import { failed } from '../errors.ts';
import { type Field, optional, type Optional, text } from '../options.ts';

/** The machine whose commands switch. */
export interface ShellAccess {
  /** How it is reached: `ssh()`, or `localShell()` for this machine. Stays the caller's to dispose of. */
  readonly shell: ShellConnector;
  /** Default: this machine, as the account of this process; right for `localShell()`. */
  readonly target?: ShellTarget;
}

/** Fields of a {@link ShellAccess} in a schema of options. */
export const shellFields: { readonly shell: Field<ShellConnector>; readonly target: Optional<ShellTarget> } = {
  shell: v.custom<ShellConnector>(
    (input) => typeof (input as Partial<ShellConnector> | undefined)?.connect === 'function',
    'must be a shell connector, such as ssh()',
  ),
  target: optional(
    v.custom<ShellTarget>(
      (input) => v.is(v.object({ hostname: text, username: text }), input),
      'must have a hostname and a username',
    ),
  ),
};

/** What a command said. */
export interface CommandAnswer {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs commands on one machine, a session each: connectors keep the connection. */
export class CommandRunner {
  readonly address: string;
  readonly #shell: ShellConnector;
  readonly #target: ShellTarget;

  constructor({ shell, target }: ShellAccess) {
    this.#shell = shell;
    this.#target = target ?? { hostname: 'localhost', username: userInfo().username };
    this.address = this.#target.hostname;
  }

  /**
   * Runs a command to its end, whatever that is.
   * @throws `dependency-missing` when the machine has no such command; what the shell throws.
   */
  async run(
    argv: readonly string[],
    { signal, beforeSending }: DriverCall,
    { stdin, program = argv[0] }: { readonly stdin?: Secret; readonly program?: string | undefined } = {},
  ): Promise<CommandAnswer> {
    const session = await this.#shell.connect(this.#target, { signal }).catch((error: unknown) => {
      throw unsent(error);
    });
    try {
      beforeSending();
      const input = stdin === undefined ? {} : { stdin: stdin.reveal() };
      const { exitCode, stdout, stderr } = await session.exec(argv, { signal, ...input });
      // Output is quoted in errors.
      const readable = (output: Buffer): string => hideSecrets(output.toString('utf8'), stdin);
      const answer = { exitCode, stdout: readable(stdout), stderr: readable(stderr) };
      if (exitCode === 126 || exitCode === 127) throw missing(program ?? '', this.address, answer);
      return answer;
    } finally {
      await session[Symbol.asyncDispose]();
    }
  }
}

/** Nothing was sent over a connection that was not made. */
function unsent(error: unknown): unknown {
  if (!isBringupError(error)) return error;
  const { code, message, retryable, details } = error;
  return new BringupError(code, message, { cause: error, retryable, details: { ...details, sent: false } });
}

function missing(program: string, host: string, { stderr }: CommandAnswer): BringupError {
  const said = excerpt(stderr);
  return new BringupError(
    'dependency-missing',
    `${program} can't be run on ${host}${said === '' ? '' : ` (${said})`}; install it there`,
    { details: { program, host } },
  );
}

/** A command that should have worked. @throws `power-failed` when it did not. */
export function expectSuccess(program: string, { exitCode, stdout, stderr }: CommandAnswer): void {
  if (exitCode === 0) return;
  const said = excerpt(stderr.trim() === '' ? stdout : stderr);
  const how = exitCode === null ? 'was ended by a signal' : `failed with exit status ${exitCode}`;
  throw failed(`${program} ${how}${said === '' ? '' : `: ${said}`}`, { details: { exitCode } });
}

/** The last words of a command, on one line. */
export function excerpt(output: string): string {
  return output.trim().replaceAll(/\s+/g, ' ').slice(-300);
}
