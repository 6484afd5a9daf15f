import { createHash, randomBytes } from 'node:crypto';

/** Who logs in, and what for. */
export interface Login {
  readonly username: string;
  readonly password: string;
}

/** One scheme that a server offers in `WWW-Authenticate`. */
interface Challenge {
  readonly scheme: string;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Digest algorithms, the best first. RFC 7616 section 3.3. */
const hashes = [
  ['SHA-512-256', 'sha512-256'],
  ['SHA-256', 'sha256'],
  ['MD5', 'md5'],
] as const;

/**
 * The `Authorization` header that answers a server's challenge: Digest (RFC 7616) where it is offered,
 * else Basic. Undefined when it offers neither in a way we speak.
 */
export function answerChallenge(
  header: string | undefined,
  request: { readonly method: string; readonly uri: string },
  login: Login,
  cnonce: string = randomBytes(16).toString('hex'),
): string | undefined {
  // Small devices refuse without saying how they want it: those speak Basic.
  if (header === undefined || header.trim() === '') return basic(login);
  const challenges = parseChallenges(header);
  for (const [name, hash] of hashes) {
    const challenge = challenges.find((offer) => digestAlgorithm(offer) === name);
    if (challenge !== undefined) return digest(challenge, hash, request, login, cnonce);
  }
  return challenges.some(({ scheme }) => scheme === 'basic') ? basic(login) : undefined;
}

function basic(login: Login): string {
  return `Basic ${basicToken(login)}`;
}

/** Name and password as Basic writes them, which anybody can read back. RFC 7617. */
export function basicToken({ username, password }: Login): string {
  return Buffer.from(`${username}:${password}`).toString('base64');
}

/** Name of the hash that a challenge can be answered with. */
function digestAlgorithm({ scheme, parameters }: Challenge): string | undefined {
  const qop = parameters.get('qop');
  const understood = qop === undefined || qop.split(',').some((word) => word.trim() === 'auth');
  if (scheme !== 'digest' || !understood || parameters.get('nonce') === undefined) return undefined;
  return (parameters.get('algorithm') ?? 'MD5').toUpperCase().replace(/-SESS$/, '');
}

function digest(
  { parameters }: Challenge,
  hash: string,
  { method, uri }: { readonly method: string; readonly uri: string },
  { username, password }: Login,
  cnonce: string,
): string {
  const h = (...parts: readonly string[]): string => createHash(hash).update(parts.join(':')).digest('hex');
  const realm = parameters.get('realm') ?? '';
  const nonce = parameters.get('nonce') ?? '';
  const algorithm = parameters.get('algorithm');
  const session = algorithm?.toUpperCase().endsWith('-SESS') === true;
  const plain = h(username, realm, password);
  const secretPart = session ? h(plain, nonce, cnonce) : plain;
  const nc = '00000001';
  const withQop = parameters.has('qop');
  const response = withQop
    ? h(secretPart, nonce, nc, cnonce, 'auth', h(method, uri))
    : h(secretPart, nonce, h(method, uri));
  const opaque = parameters.get('opaque');
  return [
    `Digest username=${quoted(username)}`,
    `realm=${quoted(realm)}`,
    `nonce=${quoted(nonce)}`,
    `uri=${quoted(uri)}`,
    `response="${response}"`,
    ...(algorithm === undefined ? [] : [`algorithm=${algorithm}`]),
    ...(withQop ? ['qop=auth', `nc=${nc}`] : []),
    ...(withQop || session ? [`cnonce="${cnonce}"`] : []),
    ...(opaque === undefined ? [] : [`opaque=${quoted(opaque)}`]),
  ].join(', ');
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&')}"`;
}

/** A scheme, or a parameter of the last one: RFC 9110 section 11.6.1 lets both stand between commas. */
const token = /[\s,]*([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?/y;

function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  const scan = new RegExp(token.source, 'y');
  for (let found = scan.exec(header); found !== null; found = scan.exec(header)) {
    const [, name = '', inQuotes, bare] = found;
    const value = inQuotes?.replaceAll(/\\(.)/g, '$1') ?? bare;
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
    else challenges.at(-1)?.parameters.set(name.toLowerCase(), value);
  }
  return challenges;
}
