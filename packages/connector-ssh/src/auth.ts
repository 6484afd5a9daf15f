import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import ssh2 from 'ssh2';
import type { AnyAuthMethod, AuthenticationType, ParsedKey, Prompt } from 'ssh2';
import { authenticationFailed, messageOf, type TargetName } from './errors.ts';
import { KnownIdentities } from './known-identities.ts';
import type { Credentials } from './route.ts';

/** The key files that are tried when the target names none, in this order. */
const usualKeyFiles = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

/** RFC 4250 section 4.11.2, RFC 4256, RFC 4462. */
const methods: ReadonlySet<string> = new Set([
  'publickey',
  'password',
  'keyboard-interactive',
  'hostbased',
  'gssapi-with-mic',
  'gssapi-keyex',
]);

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
   * Gathers what there is: the key file the caller named, or else the agent and the key files of the
   * configuration or the usual ones; then the password.
   * @throws `authentication-failed` when the named key file can't be used.
   */
  static async prepare(credentials: Credentials, name: TargetName): Promise<Login> {
    const { username, keyPath, identityFiles } = credentials;
    const attempts: Attempt[] = [];
    const notes: string[] = [];
    if (keyPath !== undefined) {
      const key = await readKey(keyPath, credentials);
      if (typeof key === 'string') throw authenticationFailed(name, { tried: [], notes: [key], accepted: [] });
      attempts.push(keyAttempt(username, keyPath, key));
    } else {
      const agent = await agentAttempt(credentials);
      if (agent !== undefined) attempts.push(agent);
      const named = identityFiles.length > 0;
      const files = named ? identityFiles : usualKeyFiles.map((file) => join(homedir(), '.ssh', file));
      for (const path of files) {
        const key = await readKey(path, credentials, true);
        if (typeof key === 'string') notes.push(key);
        else if (key !== undefined) attempts.push(keyAttempt(username, path, key));
        else if (named) notes.push(`key ${path} does not exist`);
      }
    }
    attempts.push(...passwordAttempts(credentials));
    return new Login(name, attempts, notes);
  }

  /** ssh2's authHandler: what to try next, given what the server still accepts. */
  readonly next = (accepted: readonly AuthenticationType[] | null): AnyAuthMethod | false => {
    // The server's words get into an error, and it has heard a password.
    if (accepted !== null) this.#accepted = accepted.filter((name) => methods.has(name));
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

async function agentAttempt(credentials: Credentials): Promise<Attempt | undefined> {
  const { username, agent, identityFiles, identitiesOnly } = credentials;
  if (agent === undefined) return undefined;
  const usual = usualKeyFiles.map((file) => join(homedir(), '.ssh', file));
  const files = identityFiles.length > 0 ? identityFiles : usual;
  const keys = await KnownIdentities.of(agent, files, identitiesOnly);
  return { label: 'agent', method: { type: 'agent', username, agent: keys }, serverName: 'publickey' };
}

function keyAttempt(username: string, path: string, key: ParsedKey): Attempt {
  // ssh2 takes a parsed key, which its types leave out; parsing again would repeat a costly KDF.
  const method = { type: 'publickey', username, key: key as unknown as Buffer } as const;
  return { label: `key ${path}`, method, serverName: 'publickey' };
}

function passwordAttempts({ username, password }: Credentials): readonly Attempt[] {
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

/** The key in a file (a private one), or in words why it can't be used. */
async function readKey(path: string, credentials: Credentials): Promise<ParsedKey | string>;
async function readKey(path: string, credentials: Credentials, optional: true): Promise<ParsedKey | string | undefined>;
async function readKey(
  path: string,
  credentials: Credentials,
  optional = false,
): Promise<ParsedKey | string | undefined> {
  let text: Buffer;
  try {
    text = await readFile(path);
  } catch (error) {
    if (optional && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return `key ${path} can't be read: ${messageOf(error)}`;
  }
  const key = ssh2.utils.parseKey(text, credentials.passphrase?.reveal());
  if (key instanceof Error) {
    if (!/encrypted|passphrase|decrypt/i.test(key.message)) return `key ${path} can't be used: ${key.message}`;
    return credentials.passphrase === undefined
      ? `key ${path} is encrypted: give its passphrase, or load it into the agent`
      : `key ${path} can't be decrypted: the passphrase is wrong`;
  }
  const [first] = [key].flat();
  if (first === undefined || !first.isPrivateKey()) return `key ${path} holds no private key`;
  return first;
}
