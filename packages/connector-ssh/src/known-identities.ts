import { readFile } from 'node:fs/promises';
import ssh2 from 'ssh2';
import type { IdentityCallback, ParsedKey, SignCallback, SigningRequestOptions } from 'ssh2';

/** The agent, with the keys the configuration names first, or with those alone. */
export class KnownIdentities extends ssh2.BaseAgent<ParsedKey> {
  readonly #agent: ssh2.BaseAgent<ParsedKey>;
  readonly #wanted: readonly string[];
  readonly #only: boolean;

  constructor(socketPath: string, wanted: readonly string[], only: boolean) {
    super();
    this.#agent = new ssh2.OpenSSHAgent(socketPath);
    this.#wanted = wanted;
    this.#only = only;
  }

  /** For key files whose public half can be read; an agent's key without one can't be told from others. */
  static async of(socketPath: string, files: readonly string[], only: boolean): Promise<KnownIdentities> {
    const wanted = await Promise.all(files.map(publicHalf));
    return new KnownIdentities(
      socketPath,
      wanted.filter((key) => key !== undefined),
      only,
    );
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    this.#agent.getIdentities((error, keys) => {
      if (error !== undefined && error !== null) done(error);
      else done(undefined, this.#ordered((keys ?? []) as readonly ParsedKey[]));
    });
  }

  override sign(
    key: ParsedKey,
    data: Buffer,
    options: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): void {
    if (typeof options === 'function') this.#agent.sign(key, data, options);
    else this.#agent.sign(key, data, options, done);
  }

  #ordered(keys: readonly ParsedKey[]): ParsedKey[] {
    const rank = (key: ParsedKey): number => this.#wanted.indexOf(base64Of(key));
    const named = keys.filter((key) => rank(key) >= 0).sort((one, other) => rank(one) - rank(other));
    return this.#only ? named : [...named, ...keys.filter((key) => rank(key) < 0)];
  }
}

/** From the `.pub` file beside the key, or from the file itself, which may be a public key. */
async function publicHalf(path: string): Promise<string | undefined> {
  for (const file of [`${path}.pub`, path]) {
    const text = await readFile(file).catch(() => undefined);
    const key = text === undefined ? undefined : ssh2.utils.parseKey(text);
    if (key !== undefined && !(key instanceof Error)) {
      const [first] = [key].flat();
      if (first !== undefined) return base64Of(first);
    }
  }
  return undefined;
}

function base64Of(key: ParsedKey): string {
  return key.getPublicSSH().toString('base64');
}
