import { createHash, createHmac, pbkdf2, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { BringupError } from '@bringup/core';

const derive = promisify(pbkdf2);

/** Rounds of hashing that a daemon may ask for: fewer ease guessing, more are an attack on our time. */
const rounds = { min: 4_096, max: 1_000_000 } as const;

/** One side of a SASL exchange: what to send first, and what to answer. */
export interface SaslMechanism {
  /** As the daemon lists it. */
  readonly name: string;
  /** Sent with the choice of the mechanism; undefined when the daemon begins. */
  readonly first: string | undefined;
  /** The answer to a challenge. @throws `authentication-failed` when the daemon does not prove itself. */
  answer(challenge: string): Promise<string>;
  /** Whether everything was said that this mechanism demands, the daemon's own proof included. */
  readonly complete: boolean;
}

/** PLAIN (RFC 4616): name and password as they are, so only for a line that nobody else can read. */
export function plain(username: string, password: string): SaslMechanism {
  return { name: 'PLAIN', first: `\0${username}\0${password}`, answer: async () => '', complete: true };
}

const hashes = { 'SCRAM-SHA-512': 'sha512', 'SCRAM-SHA-256': 'sha256' } as const;

/** Mechanisms that never show the password, the strongest first. */
export const scramMechanisms = Object.keys(hashes) as readonly (keyof typeof hashes)[];

/** SCRAM (RFC 5802, RFC 7677) without channel binding: the daemon proves that it knows the password, too. */
export class Scram implements SaslMechanism {
  readonly name: keyof typeof hashes;
  readonly first: string;
  readonly #bare: string;
  readonly #password: string;
  readonly #nonce: string;
  #proof: string | undefined;
  #proven = false;

  /** @param nonce - printable, without commas, and never used before. */
  constructor(name: keyof typeof hashes, username: string, password: string, nonce: string) {
    this.name = name;
    this.#password = password.normalize('NFKC');
    this.#nonce = nonce;
    this.#bare = `n=${username.normalize('NFKC').replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`;
    this.first = `n,,${this.#bare}`;
  }

  get complete(): boolean {
    return this.#proven;
  }

  async answer(challenge: string): Promise<string> {
    if (this.#proof === undefined) return this.#prove(challenge);
    if (!this.#proven) this.#check(challenge);
    return '';
  }

  async #prove(challenge: string): Promise<string> {
    const fields = /^r=(?<nonce>[^,]+),s=(?<salt>[A-Za-z0-9+/=]+),i=(?<count>\d{1,9})(?:,|$)/.exec(challenge)?.groups;
    const { nonce = '', salt = '', count = '0' } = fields ?? {};
    const iterations = Number(count);
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce) throw unproven('its challenge is not for us');
    if (iterations < rounds.min || iterations > rounds.max) {
      throw unproven(`it asks for ${iterations} rounds of hashing`);
    }
    const hash = hashes[this.name];
    const hmac = (key: Buffer, text: string) => createHmac(hash, key).update(text).digest();
    const bytes = createHash(hash).digest().length;
    const salted = await derive(this.#password, Buffer.from(salt, 'base64'), iterations, bytes, hash);
    const key = hmac(salted, 'Client Key');
    const final = `c=biws,r=${nonce}`;
    const said = `${this.#bare},${challenge},${final}`;
    const signature = hmac(createHash(hash).update(key).digest(), said);
    this.#proof = hmac(hmac(salted, 'Server Key'), said).toString('base64');
    return `${final},p=${Buffer.from(key.map((byte, at) => byte ^ (signature[at] ?? 0))).toString('base64')}`;
  }

  #check(challenge: string): void {
    const given = Buffer.from(/^v=(?<proof>[A-Za-z0-9+/=]+)/.exec(challenge)?.groups?.['proof'] ?? '');
    const expected = Buffer.from(this.#proof ?? '');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw unproven('it does not know the password itself');
    }
    this.#proven = true;
  }
}

function unproven(why: string): BringupError {
  return new BringupError('authentication-failed', `The daemon's part in SCRAM is wrong: ${why}.`);
}
