import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { isBringupError, Secret, systemClock } from '@bringup/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RpcConnection } from '../src/rpc/connection.ts';
import { procedures } from '../src/rpc/procedures.ts';
import { XdrReader, XdrWriter } from '../src/rpc/xdr.ts';
import { Scram } from '../src/sasl.ts';
import { signIn } from '../src/sign-in.ts';
import { FakeDaemon } from './fake-daemon.ts';

/** The daemon's side of SCRAM-SHA-256, for one account. */
class ScramDaemon {
  readonly #password: string;
  readonly #salt = Buffer.from('salt');
  #said = '';

  constructor(password: string) {
    this.#password = password.normalize('NFKC');
  }

  challenge(first: string): string {
    const bare = first.slice('n,,'.length);
    const challenge = `r=${/r=(.*)$/.exec(bare)?.[1]}daemon,s=${this.#salt.toString('base64')},i=4096`;
    this.#said = `${bare},${challenge}`;
    return challenge;
  }

  /** The daemon's proof, or undefined when the client's is wrong. */
  verify(final: string): string | undefined {
    const [, without = '', proof = ''] = /^(.*),p=(.*)$/.exec(final) ?? [];
    const said = `${this.#said},${without}`;
    const salted = pbkdf2Sync(this.#password, this.#salt, 4096, 32, 'sha256');
    const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
    const stored = createHash('sha256').update(hmac(salted, 'Client Key')).digest();
    const signature = hmac(stored, said);
    const key = Buffer.from(Buffer.from(proof, 'base64').map((byte, at) => byte ^ (signature[at] ?? 0)));
    if (!createHash('sha256').update(key).digest().equals(stored)) return undefined;
    return `v=${hmac(hmac(salted, 'Server Key'), said).toString('base64')}`;
  }
}

describe('SCRAM', () => {
  test('says what RFC 7677 says in its example', async () => {
    const scram = new Scram('SCRAM-SHA-256', 'user', 'pencil', 'rOprNGfwEbeRWgbNEkqO');
    expect(scram.first).toBe('n,,n=user,r=rOprNGfwEbeRWgbNEkqO');
    const nonce = 'rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0';
    expect(await scram.answer(`r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`)).toBe(
      `c=biws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`,
    );
    expect(scram.complete).toBe(false);
    await scram.answer('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');
    expect(scram.complete).toBe(true);
  });

  test('any name and password are proven to whoever knows the password, and to nobody else', async () => {
    const words = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(words, words, fc.boolean(), async (username, password, knows) => {
        const scram = new Scram('SCRAM-SHA-256', username, password, 'nonce');
        const daemon = new ScramDaemon(knows ? password : `${password}!`);
        const proof = daemon.verify(await scram.answer(daemon.challenge(scram.first)));
        expect(proof !== undefined).toBe(knows);
        const checked = scram.answer(proof ?? 'v=AAAA');
        if (knows) await checked;
        else await expect(checked).rejects.toMatchObject({ code: 'authentication-failed' });
        expect(scram.complete).toBe(knows);
      }),
      { numRuns: 100 },
    );
  });

  test.for([
    'r=nonce,s=c2FsdA==,i=4096',
    'r=other1,s=c2FsdA==,i=4096',
    'r=nonce1,s=c2FsdA==,i=1',
    'r=nonce1,s=c2FsdA==,i=999999999',
    'e=unknown-user',
    '',
  ])('the challenge %j is refused', async (challenge) => {
    const scram = new Scram('SCRAM-SHA-256', 'user', 'pencil', 'nonce');
    await expect(scram.answer(challenge)).rejects.toMatchObject({ code: 'authentication-failed' });
  });
});

const account = { username: 'lab', password: new Secret('pencil') };
const chars = (text: string): Uint8Array => {
  const writer = new XdrWriter().i32(0);
  return writer.array([...Buffer.from(text)], (byte) => writer.i32(byte)).bytes();
};
const saslReply = (ended: boolean, text: string): Uint8Array =>
  Buffer.concat([new XdrWriter().i32(ended ? 1 : 0).bytes(), chars(text)]);

/** Signs in with a daemon that offers these mechanisms and answers data, call by call, as `answer` says. */
async function signInWith(
  mechanisms: string,
  answer: (data: string, mechanism: string | undefined) => Uint8Array,
  options: { readonly confidential?: boolean; readonly account?: typeof account | undefined } = {},
): Promise<void> {
  const daemon = new FakeDaemon();
  daemon.serve(({ procedure, payload }) => {
    const reader = new XdrReader(payload);
    if (procedure === procedures.authList) return new XdrWriter().u32(1).i32(1).bytes();
    if (procedure === procedures.authSaslInit) return new XdrWriter().string(mechanisms).bytes();
    if (procedure === procedures.connectClose) return new Uint8Array();
    const mechanism = procedure === procedures.authSaslStart ? reader.string() : undefined;
    reader.i32();
    return answer(Buffer.from(reader.array(65_536, () => reader.i32())).toString(), mechanism);
  });
  await using connection = new RpcConnection(daemon.client, { clock: systemClock, peer: 'libvirt on testhost' });
  try {
    await signIn(connection, { account, confidential: true, timeoutMs: 5_000, ...options });
  } finally {
    daemon.close();
  }
}

describe('signing in with SASL', () => {
  test('takes the strongest mechanism that is offered', async () => {
    const daemon = new ScramDaemon('pencil');
    const used: string[] = [];
    await signInWith('PLAIN,SCRAM-SHA-1,SCRAM-SHA-256', (data, mechanism) => {
      if (mechanism === undefined) return saslReply(true, daemon.verify(data) ?? '');
      used.push(mechanism);
      return saslReply(false, daemon.challenge(data));
    });
    expect(used).toEqual(['SCRAM-SHA-256']);
  });

  test('shows the password only on a line that nobody else can read', async () => {
    const seen: string[] = [];
    const accept = (data: string): Uint8Array => {
      seen.push(data);
      return saslReply(true, '');
    };
    await signInWith('PLAIN', accept);
    expect(seen).toEqual(['\0lab\0pencil']);
    await expect(signInWith('PLAIN', accept, { confidential: false })).rejects.toMatchObject({
      code: 'authentication-failed',
    });
    expect(seen).toHaveLength(1);
  });

  test('without an account says that one is needed', async () => {
    await expect(signInWith('PLAIN', () => saslReply(true, ''), { account: undefined })).rejects.toThrow('an account');
  });

  test('with mechanisms that are not known names them', async () => {
    await expect(signInWith('GSSAPI', () => saslReply(true, ''))).rejects.toThrow('GSSAPI');
  });

  test('does not take a daemon that lets us in without its own proof', async () => {
    const daemon = new ScramDaemon('pencil');
    await expect(
      signInWith('SCRAM-SHA-256', (data, mechanism) =>
        mechanism === undefined ? saslReply(true, '') : saslReply(false, daemon.challenge(data)),
      ),
    ).rejects.toMatchObject({ code: 'authentication-failed' });
    await expect(signInWith('SCRAM-SHA-256', () => saslReply(true, ''))).rejects.toMatchObject({
      code: 'authentication-failed',
    });
  });

  test('comes to an end with a daemon that never does', async () => {
    await expect(signInWith('PLAIN', () => saslReply(false, 'more'))).rejects.toThrow('never comes to an end');
  });

  test('any answers of the daemon end in a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('PLAIN', 'SCRAM-SHA-256'),
        fc.uint8Array({ maxLength: 80 }),
        async (name, bytes) => {
          await signInWith(name, () => bytes).catch((error: unknown) => {
            expect(isBringupError(error), String(error)).toBe(true);
            expect(JSON.stringify(error)).not.toContain('pencil');
          });
        },
      ),
      { numRuns: 200 },
    );
  });
});
