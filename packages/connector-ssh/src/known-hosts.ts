import { createHmac, timingSafeEqual } from 'node:crypto';
import { matchesPatterns } from './patterns.ts';

/** One usable line of a known_hosts file; sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT". */
export interface KnownHostEntry {
  readonly marker: 'revoked' | 'cert-authority' | undefined;
  /** Host patterns as written, or the one hashed name. */
  readonly hosts: string;
  readonly keyType: string;
  /** The key as it goes over the wire. */
  readonly key: Buffer;
  readonly file: string;
  /** Counted from 1. */
  readonly line: number;
}

/** The lines of a known_hosts file that hold a key. Comments and broken lines are left out, as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): readonly KnownHostEntry[] {
  return text.split('\n').flatMap((line, index) => {
    const words = line.trim().split(/[ \t]+/);
    if (words[0] === '' || words[0]?.startsWith('#') === true) return [];
    const marker = words[0]?.startsWith('@') === true ? words.shift()?.slice(1) : undefined;
    if (marker !== undefined && marker !== 'revoked' && marker !== 'cert-authority') return [];
    const [hosts, keyType, base64] = words;
    if (hosts === undefined || keyType === undefined || base64 === undefined) return [];
    const key = Buffer.from(base64, 'base64');
    if (wireKeyType(key) !== keyType) return [];
    return [{ marker, hosts, keyType, key, file, line: index + 1 }];
  });
}

/** The type that a key on the wire says it has: its first string, a name as in RFC 4251 §6; RFC 4253 §6.6. */
export function wireKeyType(key: Buffer): string | undefined {
  if (key.length < 4) return undefined;
  const length = key.readUInt32BE(0);
  if (length > 64 || key.length < 4 + length) return undefined;
  const name = key.toString('latin1', 4, 4 + length);
  // It gets into messages, and into known_hosts.
  return /^[\x21-\x7e]+$/.test(name) ? name : undefined;
}

/** The name under which a host is looked up: the port belongs to it unless it is 22. */
export function knownHostName(hostname: string, port: number): string {
  const name = hostname.toLowerCase();
  return port === 22 ? name : `[${name}]:${port}`;
}

/** Whether the hosts field of an entry names this host: patterns, negations or a hashed name. */
export function namesHost(hosts: string, name: string): boolean {
  if (hosts.startsWith('|')) return hashMatches(hosts, name);
  return matchesPatterns(hosts.toLowerCase().split(','), name);
}

/** `|1|salt|HMAC-SHA1(salt, name)`, both in base64. */
function hashMatches(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split('|');
  if (version !== '1' || salt === undefined || hash === undefined) return false;
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  const wanted = Buffer.from(hash, 'base64');
  return wanted.length === actual.length && timingSafeEqual(wanted, actual);
}

/** What a set of known_hosts lines says about a host and the key it showed. */
export type HostKeyVerdict =
  | { readonly status: 'match' | 'revoked'; readonly entry: KnownHostEntry }
  /** The host is known by other keys only. */
  | { readonly status: 'changed'; readonly known: readonly KnownHostEntry[] }
  /** Nothing is known, save perhaps certificate authorities. */
  | { readonly status: 'unknown'; readonly authorities: readonly KnownHostEntry[] };

/**
 * Judges a host key. A host that is known by keys of other types only counts as changed: the known
 * types are asked for first, so a server that still has such a key would have shown it.
 */
export function judgeHostKey(entries: readonly KnownHostEntry[], name: string, key: Buffer): HostKeyVerdict {
  const own = entries.filter((entry) => namesHost(entry.hosts, name));
  const revoked = own.find((entry) => entry.marker === 'revoked' && entry.key.equals(key));
  if (revoked !== undefined) return { status: 'revoked', entry: revoked };
  const known = own.filter((entry) => entry.marker === undefined);
  const match = known.find((entry) => entry.key.equals(key));
  if (match !== undefined) return { status: 'match', entry: match };
  if (known.length > 0) return { status: 'changed', known };
  return { status: 'unknown', authorities: own.filter((entry) => entry.marker === 'cert-authority') };
}
