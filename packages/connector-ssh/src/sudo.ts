import { BringupError, hideSecrets, type Secret } from '@bringup/core';
import type { TargetName } from './errors.ts';
import { quoteWord } from './quote.ts';

/** Commands run as another account, by `sudo`. */
export interface SudoOptions {
  /** Default `root`. */
  readonly user?: string;
  /**
   * The login account's password, given to `sudo` when it asks and never otherwise: to no command, and on
   * no command line. Default: none; `sudo` must not ask.
   */
  readonly password?: Secret;
}

/** What `sudo` asks with; nothing else says it. */
const prompt = 'bringup-sudo-password:';

/** How commands and signals become another account's, and what `sudo` is told when it asks. */
export class Sudo {
  readonly prompt: string = prompt;
  readonly #user: string;
  readonly #password: Secret | undefined;

  constructor({ user = 'root', password }: SudoOptions) {
    this.#user = user;
    this.#password = password;
  }

  /** The line run as the other account. The command's own environment and folder are part of the line. */
  line(line: string): string {
    return `exec sudo -S -p ${prompt} -u ${quoteWord(this.#user)} -- /bin/sh -c ${quoteWord(line)}`;
  }

  /** What is written to `sudo`'s input when it asks for the first time; it asks again after a wrong one. */
  answer(): string | undefined {
    return this.#password === undefined ? undefined : `${this.#password.reveal()}\n`;
  }

  /** @param said - what `sudo` said on its standard error. */
  refused(target: TargetName, said: string, exitCode: number | null | undefined): BringupError {
    const why = hideSecrets(said.replaceAll(prompt, ''), this.#password).trim().split('\n').slice(-2).join(' ');
    if (exitCode === 127) {
      return new BringupError('dependency-missing', `${target.label} has no sudo: ${why}`, {
        details: { ...target.details, tool: 'sudo' },
      });
    }
    const advice =
      this.#password === undefined
        ? 'It was given no password; name one, or allow the account its commands with NOPASSWD.'
        : 'Is the password that of the login account, and may the account run commands so?';
    return new BringupError(
      'authentication-failed',
      `sudo on ${target.label} refused to run a command as ${this.#user}${why === '' ? '' : ` (${why})`}. ${advice}`,
      { details: { ...target.details, user: this.#user } },
    );
  }
}
