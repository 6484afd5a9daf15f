import { request as httpRequest, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { BringupError, hideSecrets, isBringupError, limits, Secret, withDeadline } from '@bringup/core';
import * as v from 'valibot';
import type { DriverCall } from '../driver.ts';
import { failed, refused, unreachable } from '../errors.ts';
import { authority, hostAndPort, hostField, optional, secret, text } from '../options.ts';
import { parsed } from './answer.ts';
import { answerChallenge, basicToken, type Login } from './auth.ts';
import { openSocket, type HttpsOptions } from './socket.ts';

/** Where a device's HTTP server is, and who logs in there. */
export interface HttpAccess {
  /** Host name or address, with `:port` where it is not 80, or 443 with `https`. */
  readonly host: string;
  /** Speak HTTPS. `true`: the certificate must be vouched for by an authority this machine trusts. Default false. */
  readonly https?: boolean | HttpsOptions;
  /** Account. Each driver has its device's usual one as default. */
  readonly username?: string;
  /** Its password. Default: none is given. */
  readonly password?: Secret;
}

/** Fields of an {@link HttpAccess} in a schema of options. */
export const httpFields: {
  readonly host: typeof hostField;
  readonly https: ReturnType<typeof optional<boolean | HttpsOptions>>;
  readonly username: ReturnType<typeof optional<string>>;
  readonly password: ReturnType<typeof optional<Secret>>;
} = {
  host: hostField,
  https: optional<boolean | HttpsOptions>(
    v.union(
      [
        v.boolean(),
        v.strictObject({
          ca: v.exactOptional(
            v.pipe(v.string('must be PEM'), v.includes('-----BEGIN CERTIFICATE-----', 'must hold certificates in PEM')),
          ),
          fingerprint: v.exactOptional(
            v.pipe(
              v.string('must be a string'),
              v.regex(/^(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}$/i, 'must be a SHA-256 fingerprint: 32 bytes in hex'),
            ),
          ),
        }),
      ],
      'must be true, or { ca } with certificates in PEM, or { fingerprint } with a SHA-256 fingerprint',
    ),
  ),
  username: optional(text),
  password: optional(secret),
};

/** A request to a device. */
export interface DeviceRequest {
  /** Default `GET`. */
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH';
  /** Begins with `/`; parts that come from outside are encoded by whoever puts them in. */
  readonly path: string;
  /** Put behind the path, encoded. Never part of an error: some devices want their password here. */
  readonly query?: Readonly<Record<string, string>>;
  /** Body, sent as JSON. */
  readonly json?: unknown;
  /** Body, sent as it is. */
  readonly body?: string;
  /** Headers beside those that HTTP needs. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a device answered. */
export interface DeviceAnswer {
  readonly status: number;
  readonly text: string;
}

/** Speaks HTTP with one device. Every request has a connection of its own: small devices keep few. */
export interface HttpClient {
  /** The device's host and port, for messages. */
  readonly address: string;
  /**
   * The answer, whatever its status, once the device has let us in.
   * @throws `connection-failed` when there is none within `limits.pduRequestMs`, `authentication-failed`,
   * `power-failed` for one longer than `limits.pduAnswerBytes`, `host-key-unknown`, `host-key-changed`.
   */
  send(request: DeviceRequest, call: DriverCall): Promise<DeviceAnswer>;
  /** The text of an answer that says it worked. @throws also `power-failed` for another status than 2xx. */
  text(request: DeviceRequest, call: DriverCall): Promise<string>;
  /** The JSON of such an answer. @throws also `power-failed` for an answer that is none. */
  json(request: DeviceRequest, call: DriverCall): Promise<unknown>;
  /** Words of the device as they may stand in an error: a line, not long, and without the password that it was told. */
  quote(words: string): string;
}

/** A client for a device's HTTP server. Logs in with Digest or Basic, as the device wants it. */
export function httpClient(access: HttpAccess): HttpClient {
  return new Client(access);
}

/** Longest of a device's words in an error. */
const quotedChars = 200;

interface RawAnswer extends DeviceAnswer {
  readonly challenge: string | undefined;
}

class Client implements HttpClient {
  readonly address: string;
  readonly #access: HttpAccess;
  /** Set once the device has taken it: it need not be asked each time. */
  #basic: string | undefined;

  constructor(access: HttpAccess) {
    this.address = access.host;
    this.#access = access;
  }

  async send(request: DeviceRequest, call: DriverCall): Promise<DeviceAnswer> {
    const method = request.method ?? 'GET';
    const query = request.query === undefined ? '' : `?${new URLSearchParams(request.query).toString()}`;
    const uri = request.path + query;
    const first = await this.#exchange(method, uri, request, call, this.#basic);
    if (first.status !== 401) return judged(first);
    const login = this.#login();
    if (login === undefined) throw refused('it wants a password; give the device one');
    const answer = answerChallenge(first.challenge, { method, uri }, login);
    if (answer === undefined) throw refused('it wants a login that is neither Basic nor Digest');
    if (answer === this.#basic) throw refusedLogin(login);
    const second = await this.#exchange(method, uri, request, call, answer);
    if (second.status === 401) throw refusedLogin(login);
    this.#basic = answer.startsWith('Basic ') ? answer : undefined;
    return judged(second);
  }

  async text(request: DeviceRequest, call: DriverCall): Promise<string> {
    const { status, text: body } = await this.send(request, call);
    if (status >= 200 && status < 300) return body;
    const where = `${request.method ?? 'GET'} ${pathOf(request)}`;
    const advice = status === 404 ? '; is this the right kind of device, and its firmware recent?' : '';
    throw failed(`it answers ${where} with ${status}${advice}`, { retryable: status >= 500, details: { status } });
  }

  async json(request: DeviceRequest, call: DriverCall): Promise<unknown> {
    return parsed(await this.text(request, call), pathOf(request));
  }

  quote(words: string): string {
    const login = this.#login();
    // oxlint-disable-next-line no-control-regex -- a device's words are no commands to a terminal
    const line = words.slice(0, limits.pduAnswerBytes).replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
    const secrets = login === undefined ? [] : [login.password, basicToken(login)].map((value) => new Secret(value));
    return hideSecrets(line, ...secrets).slice(0, quotedChars);
  }

  #login(): Login | undefined {
    const { username, password } = this.#access;
    return password === undefined ? undefined : { username: username ?? '', password: password.reveal() };
  }

  async #exchange(
    method: string,
    path: string,
    { json, body: given, headers }: DeviceRequest,
    { clock, signal, beforeSending }: DriverCall,
    authorization: string | undefined,
  ): Promise<RawAnswer> {
    const { host, https = false } = this.#access;
    const endpoint = hostAndPort(host, https === false ? 80 : 443);
    const tls = https === false ? {} : { https: https === true ? {} : https };
    const body = json === undefined ? given : JSON.stringify(json);
    let sent = false;
    const exchange = async (inner: AbortSignal): Promise<RawAnswer> => {
      const socket = await openSocket({ ...endpoint, ...tls }, inner);
      try {
        beforeSending();
      } catch (error) {
        socket.destroy();
        throw error;
      }
      sent = true;
      return speak(socket, { method, path, body }, inner, {
        host: authority(endpoint),
        connection: 'close',
        accept: '*/*',
        ...(json !== undefined && { 'content-type': 'application/json' }),
        ...(authorization !== undefined && { authorization }),
        ...headers,
      });
    };
    try {
      return await withDeadline(clock, 'a request', { signal, timeoutMs: limits.pduRequestMs }, exchange);
    } catch (error) {
      if (signal.aborted || !isBringupError(error, 'deadline-exceeded')) throw error;
      throw unreachable(`it does not answer within ${limits.pduRequestMs} ms`, { sent });
    }
  }
}

/** What an error may say of a request: some devices want their password behind the path. */
function pathOf({ path }: DeviceRequest): string {
  return path.replace(/\?.*$/s, '');
}

function refusedLogin({ username }: Login): BringupError {
  return refused(`it refuses the password of '${username}'`);
}

function judged({ status, text: body }: RawAnswer): DeviceAnswer {
  if (status === 403) throw refused('it forbids it; is the account allowed to switch, and the interface enabled?');
  if (status >= 300 && status < 400) {
    // Followed, the password might go elsewhere.
    throw failed(`it answers with a redirection (${status}), which is not followed; does it want https?`);
  }
  return { status, text: body };
}

async function speak(
  socket: Socket,
  { method, path, body }: { readonly method: string; readonly path: string; readonly body: string | undefined },
  signal: AbortSignal,
  headers: Readonly<Record<string, string>>,
): Promise<RawAnswer> {
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const outgoing = httpRequest(
        { createConnection: () => socket, method, path, headers: { ...length, ...headers }, signal },
        resolve,
      );
      outgoing.once('error', reject);
      outgoing.end(body);
    });
    const text = await readBounded(response);
    return { status: response.statusCode ?? 0, text, challenge: response.headers['www-authenticate'] };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BringupError) throw error;
    if ((error as NodeJS.ErrnoException).code?.startsWith('HPE_') === true) {
      throw failed('it answers with something that is no HTTP', { retryable: true });
    }
    throw unreachable(`the connection broke before it had answered: ${(error as Error).message}`, {
      sent: true,
      cause: error,
    });
  } finally {
    socket.destroy();
  }
}

async function readBounded(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limits.pduAnswerBytes) throw failed(`it answers with more than ${limits.pduAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
