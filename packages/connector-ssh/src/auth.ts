import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { ShellTarget } from '@bringup/core';
import ssh2 from 'ssh2';
import type { AnyAuthMethod, AuthenticationType, ParsedKey, Prompt } from 'ssh2';
import { authenticationFailed, messageOf, type TargetName } from './errors.ts';

/** The key files that are tried when the target names none, in this order. */
const usualKeyFiles = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

interface Attempt {
  readonly label: string;
  readonly method: AnyAuthMethod;
  /** As the server calls it. */
  readonly serverName: 'publickey' | 'password' | 'keyboard-interactive';
}

/** The ways into one account, tried one after the other. */
export class Login {
  readonly #target: TargetName;
  readonly #attempts: readonly Attempt[];
  readonly #notes: string[];
  readonly #tried: string[] = [];
  #accepted: readonly string[] = [];
  #next = 0;
  #exhausted = false;

  private constructor(target: TargetName, attempts: readonly Attempt[], notes: readonly string[]) {
    this.#target = target;
    this.#attempts = attempts;
    this.#notes = [...notes];
  }

  /**
   * Gathers what the target names: its key file, or else the agent and the usual key files; then
   * its password.
   * @throws `authentication-failed` when the named key file can't be used.
   */
  static async prepare(target: ShellTarget, name: TargetName, agent: string | undefined): Promise<Login> {
    const { username } = target;
    const attempts: Attempt[] = [];
    const notes: string[] = [];
    if (target.keyPath !== undefined) {
      const key = await readKey(target.keyPath, target);
      if (typeof key === 'string') throw authenticationFailed(name, { tried: [], notes: [key], accepted: [] });
      attempts.push(keyAttempt(username, target.keyPath, key));
    } else {
      if (agent !== undefined) {
        attempts.push({ label: 'agent', method: { type: 'agent', username, agent }, serverName: 'publickey' });
      }
      for (const file of usualKeyFiles) {
        const path = join(homedir(), '.ssh', file);
        const key = await readKey(path, target, true);
        if (typeof key === 'string') notes.push(key);
        else if (key !== undefined) attempts.push(keyAttempt(username, path, key));
      }
    }
    attempts.push(...passwordAttempts(target));
    return new Login(name, attempts, notes);
  }

  /** ssh2's authHandler: what to try next, given what the server still accepts. */
  readonly next = (accepted: readonly AuthenticationType[] | null): AnyAuthMethod | false => {
    if (accepted !== null) this.#accepted = accepted;
    while (this.#next < this.#attempts.length) {
      const attempt = this.#attempts[this.#next];
      this.#next += 1;
      if (attempt === undefined) break;
      if (accepted !== null && !(accepted as readonly string[]).includes(attempt.serverName)) continue;
      this.#tried.push(attempt.label);
      return attempt.method;
    }
    this.#exhausted = true;
    return false;
  };

  /** Whether an error of ssh2 is only one way in that did not work, with others still to come. */
  isPassing(error: Error & { readonly level?: string }): boolean {
    if (this.#exhausted || (error.level !== 'agent' && error.level !== 'client-authentication')) return false;
    this.#notes.push(`${error.level}: ${error.message}`);
    return true;
  }

  failed(cause: unknown): Error {
    return authenticationFailed(
      this.#target,
      { tried: this.#tried, notes: this.#notes, accepted: this.#accepted },
      cause,
    );
  }
}

function keyAttempt(username: string, path: string, key: ParsedKey): Attempt {
  // ssh2 takes a parsed key, which its types leave out; parsing again would repeat a costly KDF.
  const method = { type: 'publickey', username, key: key as unknown as Buffer } as const;
  return { label: `key ${path}`, method, serverName: 'publickey' };
}

function passwordAttempts({ username, password }: ShellTarget): readonly Attempt[] {
  if (password === undefined) return [];
  const prompt = (
    _name: string,
    _instructions: string,
    _lang: string,
    prompts: Prompt[],
    finish: (answers: string[]) => void,
  ): void => finish(prompts.map(() => password.reveal()));
  return [
    { label: 'password', method: { type: 'password', username, password: password.reveal() }, serverName: 'password' },
    {
      label: 'keyboard-interactive',
      method: { type: 'keyboard-interactive', username, prompt },
      serverName: 'keyboard-interactive',
    },
  ];
}

/** The key in a file, or in words why it can't be used. */
async function readKey(path: string, target: ShellTarget): Promise<ParsedKey | string>;
async function readKey(path: string, target: ShellTarget, optional: true): Promise<ParsedKey | string | undefined>;
async function readKey(path: string, target: ShellTarget, optional = false): Promise<ParsedKey | string | undefined> {
  let text: Buffer;
  try {
    text = await readFile(path);
  } catch (error) {
    if (optional && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return `key ${path} can't be read: ${messageOf(error)}`;
  }
  const key = ssh2.utils.parseKey(text, target.passphrase?.reveal());
  if (key instanceof Error) {
    if (!/encrypted|passphrase|decrypt/i.test(key.message)) return `key ${path} can't be used: ${key.message}`;
    return target.passphrase === undefined
      ? `key ${path} is encrypted: give its passphrase, or load it into the agent`
      : `key ${path} can't be decrypted: the passphrase is wrong`;
  }
  const [first] = [key].flat();
  if (first === undefined || !first.isPrivateKey()) return `key ${path} holds no private key`;
  return first;
}
