import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BringupError } from '@bringup/core';
import type { ServerHostKeyAlgorithm } from 'ssh2';
import {
  judgeHostKey,
  knownHostName,
  namesHost,
  parseKnownHosts,
  wireKeyType,
  type KnownHostEntry,
} from './known-hosts.ts';
import { messageOf, type TargetName } from './errors.ts';

/** How host keys are verified. */
export interface HostKeyPolicy {
  /** Files to look in, the first of which `accept-new` appends to. */
  readonly files: readonly string[];
  /** Whether the files were named by the caller: then they must exist. */
  readonly filesRequired: boolean;
  readonly acceptNew: boolean;
  /** SHA256 fingerprints by host name (`host` or `[host]:port`); a host named here is judged by them alone. */
  readonly pinned: Readonly<Record<string, readonly string[]>>;
}

/** Every algorithm offered, best first; SHA-1 signatures only for servers that have nothing else. */
const offered: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
  'ssh-rsa',
];

/** What is known about one host, read once per connection. */
export class HostKeys {
  readonly #policy: HostKeyPolicy;
  readonly #target: TargetName;
  readonly #name: string;
  readonly #entries: readonly KnownHostEntry[];
  readonly #pinned: readonly string[] | undefined;
  #accepted: Buffer | undefined;

  private constructor(policy: HostKeyPolicy, target: TargetName, name: string, entries: readonly KnownHostEntry[]) {
    this.#policy = policy;
    this.#target = target;
    this.#name = name;
    this.#entries = entries;
    this.#pinned = policy.pinned[name];
  }

  /** @throws `host-key-unknown` when a known_hosts file can't be read. */
  static async read(policy: HostKeyPolicy, target: TargetName, hostname: string, port: number): Promise<HostKeys> {
    const name = knownHostName(hostname, port);
    const pinned = policy.pinned[name] !== undefined;
    const files = pinned ? [] : await Promise.all(policy.files.map((file) => readEntries(file, policy, target)));
    const entries = files.flat();
    const own = entries.filter((entry) => namesHost(entry.hosts, name));
    // As OpenSSH does: a host on another port that is not known by that port may be known without it.
    const plain = knownHostName(hostname, 22);
    const fallback = own.length > 0 || name === plain ? [] : entries.filter((entry) => namesHost(entry.hosts, plain));
    return new HostKeys(
      policy,
      target,
      name,
      own.length > 0 ? own : fallback.map((entry) => ({ ...entry, hosts: name })),
    );
  }

  /** Algorithms to offer: those of keys the host is known by first, as OpenSSH does. */
  get algorithms(): ServerHostKeyAlgorithm[] {
    const known = new Set(this.#entries.filter(({ marker }) => marker === undefined).map(({ keyType }) => keyType));
    const isKnown = (algorithm: string): boolean => known.has(algorithm.startsWith('rsa-') ? 'ssh-rsa' : algorithm);
    return [...offered.filter(isKnown), ...offered.filter((algorithm) => !isKnown(algorithm))];
  }

  /**
   * Accepts the key the host showed, or throws.
   * @throws `host-key-unknown`, `host-key-changed`.
   */
  async verify(key: Buffer): Promise<void> {
    if (this.#accepted?.equals(key) === true) return;
    if (this.#pinned === undefined) await this.#judge(key);
    else if (!this.#pinned.includes(fingerprint(key))) {
      throw this.#error(
        'host-key-changed',
        key,
        `It is pinned to ${this.#pinned.join(', ')}`,
        'Check the machine, then the pin.',
      );
    }
    this.#accepted = key;
  }

  async #judge(key: Buffer): Promise<void> {
    const verdict = judgeHostKey(this.#entries, this.#name, key);
    switch (verdict.status) {
      case 'match':
        return;
      case 'revoked':
        throw this.#error(
          'host-key-changed',
          key,
          `That key is marked @revoked in ${place(verdict.entry)}`,
          'Do not trust this machine until it has a new host key.',
          verdict.entry,
        );
      case 'changed': {
        const [first] = verdict.known;
        throw this.#error(
          'host-key-changed',
          key,
          `It is known by ${verdict.known.map((entry) => `${entry.keyType} ${fingerprint(entry.key)} (${place(entry)})`).join(', ')}`,
          `Somebody may be in between. If the machine was reinstalled, remove the old key: ssh-keygen -R '${this.#name}' -f '${first?.file ?? ''}'.`,
          first,
        );
      }
      case 'unknown':
        if (this.#policy.acceptNew && verdict.authorities.length === 0) return this.#append(key);
        throw this.#unknown(key, verdict.authorities);
    }
  }

  #unknown(key: Buffer, authorities: readonly KnownHostEntry[]): BringupError {
    const [authority] = authorities;
    const found =
      authority === undefined
        ? `No key of it is in ${this.#policy.files.join(' or ')}`
        : `Only a certificate authority vouches for it (${place(authority)}), and host certificates are not supported`;
    return this.#error(
      'host-key-unknown',
      key,
      found,
      `Compare the fingerprint with the machine's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), then add the line: ${this.#name} ${wireKeyType(key) ?? ''} ${key.toString('base64')}`,
      authority,
    );
  }

  async #append(key: Buffer): Promise<void> {
    const [file] = this.#policy.files;
    if (file === undefined) throw this.#unknown(key, []);
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const before = await readFile(file, 'utf8').catch(() => '');
    const separator = before === '' || before.endsWith('\n') ? '' : '\n';
    const line = `${separator}${this.#name} ${wireKeyType(key) ?? ''} ${key.toString('base64')}\n`;
    await appendFile(file, line, { mode: 0o600, flush: true });
  }

  #error(
    code: 'host-key-unknown' | 'host-key-changed',
    key: Buffer,
    found: string,
    advice: string,
    entry?: KnownHostEntry,
  ): BringupError {
    const keyType = wireKeyType(key) ?? 'unknown';
    return new BringupError(
      code,
      `The host key of ${this.#target.label} is not trusted: it showed ${keyType} ${fingerprint(key)}. ${found}. ${advice}`,
      {
        details: {
          ...this.#target.details,
          name: this.#name,
          keyType,
          fingerprint: fingerprint(key),
          file: entry?.file ?? this.#policy.files[0] ?? null,
          line: entry?.line ?? null,
        },
      },
    );
  }
}

/** `SHA256:…`, as OpenSSH prints it. */
export function fingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

async function readEntries(
  file: string,
  policy: HostKeyPolicy,
  target: TargetName,
): Promise<readonly KnownHostEntry[]> {
  try {
    return parseKnownHosts(await readFile(file, 'utf8'), file);
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    if (missing && (!policy.filesRequired || policy.acceptNew)) return [];
    throw new BringupError(
      'host-key-unknown',
      `The host key of ${target.label} can't be verified: ${messageOf(error)}. Make the known_hosts file readable, or name another.`,
      { details: { ...target.details, file, line: null }, cause: error },
    );
  }
}

function place(entry: KnownHostEntry): string {
  return `${entry.file}:${entry.line}`;
}
