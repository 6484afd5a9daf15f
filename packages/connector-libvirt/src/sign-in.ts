import { randomBytes } from 'node:crypto';
import { BringupError } from '@bringup/core';
import type { CallOptions, Secret } from '@bringup/core';
import type { RpcConnection } from './rpc/connection.ts';
import type { Procedure } from './rpc/procedures.ts';
import { accessHint, isRemoteError, virError } from './rpc/remote-error.ts';
import { XdrWriter } from './rpc/xdr.ts';
import type { XdrReader } from './rpc/xdr.ts';
import { plain, Scram, scramMechanisms } from './sasl.ts';
import type { SaslMechanism } from './sasl.ts';

/** An account of the daemon's own, as SASL checks it. */
export interface LibvirtAccount {
  readonly username: string;
  readonly password: Secret;
}

/** How a connection signs in. */
export interface SignInOptions extends CallOptions {
  readonly account: LibvirtAccount | undefined;
  /** Whether nobody else can read the line: TLS, SSH or a socket of the machine itself. */
  readonly confidential: boolean;
}

// remote_auth_type
const authType = { none: 0, sasl: 1, polkit: 2 } as const;
const maxAuthTypes = 20;
// REMOTE_AUTH_SASL_DATA_MAX
const maxSaslBytes = 65_536;
/** PLAIN needs one step, SCRAM two. */
const maxSaslSteps = 8;

/** Does what the daemon wants before it lets a client in. @throws `authentication-failed`, and what calls throw. */
export async function signIn(connection: RpcConnection, options: SignInOptions): Promise<void> {
  const reply = await connection.call('authList', undefined, options);
  const offered = reply.array(maxAuthTypes, () => reply.i32());
  if (offered.length === 0 || offered.includes(authType.none)) return;
  if (offered.includes(authType.sasl)) await saslSignIn(connection, options);
  else if (offered.includes(authType.polkit)) await polkitSignIn(connection, options);
  else throw refused(`${connection.peer} wants a kind of sign-in that is not known here: ${offered.join(', ')}.`);
}

async function polkitSignIn(connection: RpcConnection, options: CallOptions): Promise<void> {
  try {
    await connection.call('authPolkit', undefined, options);
  } catch (error) {
    if (!(error instanceof BringupError) || error.details['libvirtCode'] === undefined) throw error;
    throw refused(`${connection.peer} refuses the account. ${accessHint}`, error);
  }
}

async function saslSignIn(connection: RpcConnection, options: SignInOptions): Promise<void> {
  const { account } = options;
  if (account === undefined) {
    throw refused(
      `${connection.peer} wants SASL: give the connector an account (\`sasl\`), or, for its own socket, set auth_unix_rw to "none" or "polkit" in libvirtd.conf.`,
    );
  }
  const names = (await connection.call('authSaslInit', undefined, options)).string(maxSaslBytes);
  const mechanism = chooseMechanism(names, account, options, connection.peer);
  const args = new XdrWriter().string(mechanism.name);
  let { ended, challenge } = await saslStep(connection, 'authSaslStart', args, mechanism.first, options);
  for (let step = 0; !ended || !mechanism.complete; step += 1) {
    if (step === maxSaslSteps) throw refused(`${connection.peer} never comes to an end with ${mechanism.name}.`);
    const answer = await mechanism.answer(challenge);
    // The daemon's proof may come with its last word, which wants no answer.
    if (ended) break;
    ({ ended, challenge } = await saslStep(connection, 'authSaslStep', new XdrWriter(), answer, options));
  }
  if (!mechanism.complete) throw refused(`${connection.peer} lets us in without proving that it knows the password.`);
}

function chooseMechanism(
  names: string,
  { username, password }: LibvirtAccount,
  { confidential }: SignInOptions,
  peer: string,
): SaslMechanism {
  const offered = names.split(/[\s,]+/);
  const scram = scramMechanisms.find((name) => offered.includes(name));
  if (scram !== undefined) {
    return new Scram(scram, username, password.reveal(), randomBytes(24).toString('base64'));
  }
  if (offered.includes('PLAIN') && confidential) return plain(username, password.reveal());
  const known = [...scramMechanisms, ...(confidential ? ['PLAIN'] : [])].join(', ');
  throw refused(
    `${peer} offers the SASL mechanisms ${names}, of which none is used here: set mech_list in /etc/sasl2/libvirt.conf to one of ${known}.`,
  );
}

async function saslStep(
  connection: RpcConnection,
  procedure: Procedure,
  args: XdrWriter,
  data: string | undefined,
  options: CallOptions,
): Promise<{ readonly ended: boolean; readonly challenge: string }> {
  // SASL tells no data from empty data. In XDR each char of `char data<>` takes four bytes.
  args.i32(data === undefined ? 1 : 0).array([...Buffer.from(data ?? '', 'utf8')], (byte) => args.i32(byte));
  let reply: XdrReader;
  try {
    reply = await connection.call(procedure, args.bytes(), options);
  } catch (error) {
    throw isRemoteError(error) ? notAccepted(error, connection.peer) : error;
  }
  const ended = reply.i32() !== 0;
  reply.i32();
  return { ended, challenge: Buffer.from(reply.array(maxSaslBytes, () => reply.i32())).toString('utf8') };
}

/** The daemon's own words may repeat what it was told: only its numbers go on. */
function notAccepted({ code, retryable, details }: BringupError, peer: string): BringupError {
  const { libvirtCode = null, libvirtDomain = null } = details;
  const numbers = { libvirtCode, libvirtDomain };
  if (libvirtCode === virError.authFailed) {
    return new BringupError('authentication-failed', `${peer} does not accept the account's name and password.`, {
      details: numbers,
    });
  }
  const message = `${peer} failed to sign the account in (libvirt's error ${String(libvirtCode)}); its log says why.`;
  return new BringupError(code, message, { retryable, details: numbers });
}

function refused(message: string, cause?: BringupError): BringupError {
  return new BringupError('authentication-failed', message, { cause, details: cause?.details ?? {} });
}
