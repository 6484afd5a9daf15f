import { isIPv6 } from 'node:net';
import { limits } from '@bringup/core';
import type { BringupError, Secret } from '@bringup/core';
import type * as NetSnmp from 'net-snmp';
import * as v from 'valibot';
import type { DriverCall } from '../driver.ts';
import { failed, noSuchOutlet, refused, unreachable } from '../errors.ts';
import { type Field, hostAndPort, hostField, milliseconds, optional, type Optional, secret, text } from '../options.ts';

/** SNMPv1 or v2c: whoever knows the community, which goes over the network in clear, may switch. */
export interface SnmpCommunity {
  readonly version: 'v1' | 'v2c';
  /** One that may write. */
  readonly community: Secret;
}

/** SNMPv3 with the user-based security model (RFC 3414). With `privPassword` all is encrypted. */
export interface SnmpUser {
  readonly version: 'v3';
  readonly username: string;
  /** Default `sha`. */
  readonly authProtocol?: 'md5' | 'sha' | 'sha224' | 'sha256' | 'sha384' | 'sha512';
  /** At least 8 characters. Without it, nothing proves who asks. */
  readonly authPassword?: Secret;
  /** `aes256b` and `aes256r` are the two ways, Blumenthal's and Reeder's, to get a 256-bit key. Default `aes`. */
  readonly privProtocol?: 'aes' | 'aes256b' | 'aes256r';
  /** At least 8 characters. Needs an `authPassword`. */
  readonly privPassword?: Secret;
  /** SNMPv3 context. Default: the empty one. */
  readonly context?: string;
}

/** Where a device's SNMP agent is, and as whom it is asked. */
export interface SnmpAccess {
  /** Host name or address, with `:port` where it is not 161. */
  readonly host: string;
  readonly snmp: SnmpCommunity | SnmpUser;
  /**
   * A request without an answer is sent again after this many milliseconds, `limits.pduSnmpResends` times.
   * Default `limits.pduSnmpResendMs`.
   */
  readonly resendMs?: number;
}

const key = v.pipe(
  secret as v.GenericSchema<Secret>,
  v.check((password) => password.reveal().length >= 8, 'must have at least 8 characters'),
);

/** Fields of an {@link SnmpAccess} in a schema of options. */
export const snmpFields: {
  readonly host: Field<string>;
  readonly snmp: Field<SnmpCommunity | SnmpUser>;
  readonly resendMs: Optional<number>;
} = {
  host: hostField,
  resendMs: optional(milliseconds),
  snmp: v.variant(
    'version',
    [
      v.strictObject({ version: v.picklist(['v1', 'v2c']), community: secret }),
      v.strictObject({
        version: v.literal('v3'),
        username: text,
        authProtocol: optional(
          v.picklist(['md5', 'sha', 'sha224', 'sha256', 'sha384', 'sha512'], 'must be md5 or one of the sha family'),
        ),
        authPassword: v.exactOptional(key),
        privProtocol: optional(v.picklist(['aes', 'aes256b', 'aes256r'], 'must be aes, aes256b or aes256r')),
        privPassword: v.exactOptional(key),
        context: optional(v.string('must be a string')),
      }),
    ],
    "must have a version: 'v1', 'v2c' or 'v3'",
  ),
};

/** Asks one SNMP agent for integers, and sets them. */
export class SnmpClient {
  readonly address: string;
  readonly #access: SnmpAccess;

  constructor(access: SnmpAccess) {
    this.address = access.host;
    this.#access = access;
  }

  /** @throws `connection-failed`, `authentication-failed`, `invalid-input` when there is no such object. */
  get(oid: string, call: DriverCall): Promise<number> {
    return this.#ask(call, (session, done) => session.get([oid], done));
  }

  /** Sets an INTEGER. @throws as `get`; `power-failed` when the agent takes no such value. */
  async set(oid: string, value: number, call: DriverCall): Promise<void> {
    const { ObjectType } = await library();
    await this.#ask(call, (session, done) => session.set([{ oid, type: ObjectType.Integer, value }], done));
  }

  /** One session a request: an aborted one is closed, and an agent that was restarted is met anew. */
  async #ask(
    { signal }: DriverCall,
    act: (session: NetSnmp.Session, done: NetSnmp.ResponseCallback) => void,
  ): Promise<number> {
    const snmp = await library();
    signal.throwIfAborted();
    const session = this.#session(snmp);
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const stop = (): void => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    session.on('error', (error) => reject(this.#explain(snmp, error)));
    try {
      act(session, (error, varbinds) => {
        if (error) reject(this.#explain(snmp, error));
        else this.#take(snmp, varbinds, resolve, reject);
      });
      return await promise;
    } finally {
      signal.removeEventListener('abort', stop);
      session.close();
    }
  }

  #session(snmp: typeof NetSnmp): NetSnmp.Session {
    const { snmp: who, resendMs = limits.pduSnmpResendMs } = this.#access;
    const { host, port } = hostAndPort(this.#access.host, 161);
    const options: NetSnmp.SessionOptions = {
      port,
      transport: isIPv6(host) ? 'udp6' : 'udp4',
      timeout: resendMs,
      retries: limits.pduSnmpResends,
    };
    if (who.version !== 'v3') {
      const version = who.version === 'v1' ? snmp.Version1 : snmp.Version2c;
      return snmp.createSession(host, who.community.reveal(), { ...options, version });
    }
    const { context = '' } = who;
    return snmp.createV3Session(host, userOf(snmp, who), { ...options, version: snmp.Version3, context });
  }

  #take(
    snmp: typeof NetSnmp,
    varbinds: NetSnmp.Varbind[] | undefined,
    resolve: (value: number) => void,
    reject: (error: unknown) => void,
  ): void {
    const varbind = varbinds?.[0];
    if (varbind === undefined) reject(failed('its SNMP agent answers with nothing'));
    else if (snmp.isVarbindError(varbind))
      reject(noSuchOutlet('it has no such outlet; is this the right kind of PDU?'));
    else if (typeof varbind.value === 'number') resolve(varbind.value);
    else reject(failed('its SNMP agent answers with something that is no number'));
  }

  /**
   * The library's errors hold communities and keys, so that none of them goes any further, not even as a
   * cause.
   */
  #explain(snmp: typeof NetSnmp, error: Error & { readonly status?: number }): BringupError {
    const {
      snmp: { version },
      resendMs = limits.pduSnmpResendMs,
    } = this.#access;
    if (error instanceof snmp.RequestFailedError) return refusal(snmp, error.status);
    if (error.name === 'RequestTimedOutError') {
      const waited = resendMs * (limits.pduSnmpResends + 1);
      const secret = version === 'v3' ? 'the passwords' : 'the community';
      return unreachable(
        `its SNMP agent does not answer within ${waited} ms; is it on, SNMP enabled, and ${secret} right?`,
        { sent: true },
      );
    }
    if (error.name === 'ResponseInvalidError') {
      // Of what is in these messages, only the names of RFC 3414's counters hold no secret.
      const reason = /unknown user|digest|security level|time window|decrypt|engine/i.exec(error.message)?.[0];
      if (version === 'v3') {
        const why = reason === undefined ? '' : ` (${reason.toLowerCase()})`;
        return refused(`its SNMP agent refuses the user${why}; check name, passwords and protocols`);
      }
      return failed('its SNMP agent answers with something else than was asked', { retryable: true });
    }
    const { code } = error as NodeJS.ErrnoException;
    // It was asked: whether it did it is open.
    if (code === undefined) return failed('its SNMP agent answers with something that is no SNMP', { retryable: true });
    return unreachable(`it can't be reached: ${code}; is it on, and on this network?`, { sent: false });
  }
}

/** What the agent says no to. RFC 3416 section 3. */
function refusal(snmp: typeof NetSnmp, status: number | undefined): BringupError {
  const { ErrorStatus } = snmp;
  const name = String(ErrorStatus[status ?? ErrorStatus.GeneralError]);
  switch (status) {
    case ErrorStatus.NoAccess:
    case ErrorStatus.AuthorizationError:
    case ErrorStatus.ReadOnly:
      return refused(`its SNMP agent does not let us write (${name}); give a community or user that may`);
    case ErrorStatus.NoSuchName:
    case ErrorStatus.NoCreation:
    case ErrorStatus.NotWritable:
    case ErrorStatus.InconsistentName:
      return noSuchOutlet(`it has no such outlet that can be switched (${name}), or does not let us write`);
    case undefined:
    default:
      return failed(`its SNMP agent did not do it (${name})`, {
        retryable: status === ErrorStatus.ResourceUnavailable || status === ErrorStatus.GeneralError,
        details: { sent: true },
      });
  }
}

function userOf(snmp: typeof NetSnmp, user: SnmpUser): NetSnmp.User {
  const { username: name, authPassword, privPassword } = user;
  if (authPassword === undefined) return { name, level: snmp.SecurityLevel.noAuthNoPriv };
  const authProtocol = snmp.AuthProtocols[user.authProtocol ?? 'sha'];
  const auth = { name, authProtocol, authKey: authPassword.reveal() };
  if (privPassword === undefined) return { ...auth, level: snmp.SecurityLevel.authNoPriv };
  const privProtocol = snmp.PrivProtocols[user.privProtocol ?? 'aes'];
  return { ...auth, level: snmp.SecurityLevel.authPriv, privProtocol, privKey: privPassword.reveal() };
}

let loading: Promise<typeof NetSnmp> | undefined;

/** Loaded when it is first needed: it is large, and most labs have no use for it. */
function library(): Promise<typeof NetSnmp> {
  loading ??= import('net-snmp').then((module) => ('default' in module ? (module.default as typeof NetSnmp) : module));
  return loading;
}
