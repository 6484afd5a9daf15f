import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { BringupError, bytesOfArgument, limits } from '@bringup/core';
import type { Clock, ForwardTarget, Logger } from '@bringup/core';
import ssh2 from 'ssh2';
import type { Client, ClientChannel } from 'ssh2';
import { Login } from './auth.ts';
import { coalesceWrites } from './coalesce-writes.ts';
import { connectionFailed, connectionLost, type TargetName } from './errors.ts';
import { HostKeys } from './host-keys.ts';
import { preparePacketKeys } from './packet-keys.ts';
import type { Endpoint } from './route.ts';

/** Ciphers in order of speed on CPUs with AES instructions; ChaCha20 is slow in ssh2 without native code. */
const ciphers = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'aes128-ctr',
  'aes192-ctr',
  'aes256-ctr',
  'chacha20-poly1305@openssh.com',
] as const;

/** How long a polite end of the connection may take before the socket is destroyed. */
const endGraceMs = 1_000;

/** What every connection is made with. */
export interface ConnectionOptions {
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Takes charge of a channel that has just opened. Called at once: the exit of a fast command can be
 * in the same packet as the channel's opening, and ssh2 tells it only to those who listen already.
 */
export type Attach<T> = (channel: ClientChannel, connection: Connection) => T;

/** One SSH connection. Every call on it is raced against its end, so none outlives it. */
export class Connection implements AsyncDisposable {
  readonly target: TargetName;
  /** Settles with the reason when the connection has ended; undefined when it was ended here. */
  readonly closed: Promise<BringupError | undefined>;
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #watchers = new Set<() => void>();
  #lost: BringupError | undefined;
  #isClosed = false;
  #ending = false;

  private constructor(client: Client, target: TargetName, clock: Clock) {
    this.#client = client;
    this.target = target;
    this.#clock = clock;
    this.closed = new Promise((resolve) => {
      let reason: Error | undefined;
      client.on('error', (error) => (reason ??= error));
      client.on('close', () => {
        this.#isClosed = true;
        if (!this.#ending) this.#lost = connectionLost(target, reason);
        resolve(this.#lost);
        for (const watcher of [...this.#watchers]) watcher();
      });
    });
  }

  /**
   * Connects, verifies the host key and logs in; over `tunnel`, a stream to the server, where it can't
   * be reached directly. Aborting the signal destroys that or the socket.
   * @throws `connection-failed`, `authentication-failed`, `host-key-unknown`, `host-key-changed`.
   */
  static async open(
    endpoint: Endpoint,
    options: ConnectionOptions,
    signal: AbortSignal,
    tunnel?: () => Promise<Duplex>,
  ): Promise<Connection> {
    const { name, credentials, keyName } = endpoint;
    const [login, hostKeys] = await Promise.all([
      Login.prepare(credentials, name),
      HostKeys.read(endpoint.hostKeys, name, keyName.hostname, keyName.port),
    ]);
    const socket = await (tunnel?.() ?? connectSocket(endpoint.host, endpoint.port, name, signal));
    coalesceWrites(socket);
    const abort = (): void => void socket.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      if (signal.aborted) abort();
      return await logIn(socket, endpoint, options, login, hostKeys);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** For a client that has just become ready. */
  static of(client: Client, target: TargetName, clock: Clock): Connection {
    return new Connection(client, target, clock);
  }

  get isOpen(): boolean {
    return !this.#isClosed && !this.#ending;
  }

  /** What calls fail with once the connection has ended. */
  get lost(): BringupError {
    return this.#lost ?? connectionLost(this.target);
  }

  /**
   * Calls `ended` when the connection has ended; gives what stops that. Unlike reactions to
   * `closed`, watchers that are done leave nothing behind on a connection that lives for months.
   */
  watch(ended: () => void): () => void {
    if (this.#isClosed) queueMicrotask(ended);
    else this.#watchers.add(ended);
    return () => void this.#watchers.delete(ended);
  }

  /** Starts a command line. @throws {ChannelRefused}, `connection-lost`. */
  exec<T>(line: string, attach: Attach<T>): Promise<T> {
    // ssh2 takes bytes too, which its types do not know.
    const sent = line.isWellFormed() ? line : (bytesOfArgument(line) as unknown as string);
    return this.#open((client, done) => client.exec(sent, done), attach);
  }

  /** @throws {ChannelRefused}, `connection-lost`. */
  forward<T>(to: ForwardTarget, attach: Attach<T>): Promise<T> {
    return this.#open(
      (client, done) =>
        'socketPath' in to
          ? client.openssh_forwardOutStreamLocal(to.socketPath, done)
          : client.forwardOut('127.0.0.1', 0, to.host, to.port, done),
      attach,
    );
  }

  /** Ends the connection; bounded in time whatever the other side does. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isClosed) {
      this.#ending = true;
      this.#client.end();
      using _timer = this.#clock.timer(endGraceMs, () => this.#client.destroy());
      await this.closed;
    }
  }

  #open<T>(
    start: (client: Client, done: (error: Error | undefined, channel: ClientChannel) => void) => void,
    attach: Attach<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.isOpen) {
        reject(this.lost);
        return;
      }
      let isLate = false;
      const timer = this.#clock.timer(limits.sshChannelOpenMs, () => {
        isLate = true;
        unwatch();
        reject(notOpened(this.target));
      });
      const unended = this.watch(() => {
        timer[Symbol.dispose]();
        reject(this.lost);
      });
      const unwatch = (): void => {
        timer[Symbol.dispose]();
        unended();
      };
      try {
        start(this.#client, (error, channel) => {
          unwatch();
          if (isLate) channel?.close();
          else if (error === undefined) resolve(attach(channel, this));
          else reject(this.#isClosed ? this.lost : new ChannelRefused(error));
        });
      } catch (error) {
        unwatch();
        reject(connectionLost(this.target, error));
      }
    });
  }
}

function notOpened(target: TargetName): BringupError {
  const message = `${target.label} does not answer within ${limits.sshChannelOpenMs} ms whether a command may run. Is the machine overloaded?`;
  return new BringupError('connection-lost', message, { retryable: true, details: target.details });
}

/** The server would not open a channel; the connection itself goes on. */
export class ChannelRefused extends Error {
  /** Reason code of RFC 4254 §5.1, where the server gave one. */
  readonly reason: number | undefined;

  constructor(cause: Error & { readonly reason?: unknown }) {
    super(cause.message, { cause });
    this.name = 'ChannelRefused';
    this.reason = typeof cause.reason === 'number' ? cause.reason : undefined;
  }
}

function connectSocket(host: string, port: number, target: TargetName, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = new Socket();
    const abort = (): void => void socket.destroy(new Error('the attempt was given up'));
    const settle = (): void => {
      signal.removeEventListener('abort', abort);
      socket.off('error', fail).off('connect', connected);
    };
    const fail = (error: Error): void => {
      settle();
      reject(connectionFailed(target, error));
    };
    const connected = (): void => {
      settle();
      resolve(socket);
    };
    signal.addEventListener('abort', abort, { once: true });
    socket.on('error', fail).on('connect', connected);
    socket.setNoDelay(true);
    socket.connect({ host, port });
  });
}

function logIn(
  socket: Duplex,
  endpoint: Endpoint,
  options: ConnectionOptions,
  login: Login,
  hostKeys: HostKeys,
): Promise<Connection> {
  const { name: target } = endpoint;
  return new Promise((resolve, reject) => {
    const client = new ssh2.Client();
    let refused: unknown;
    let authenticating = false;
    const fail = (error: Error & { readonly level?: string }): void => {
      if (authenticating && login.isPassing(error)) {
        options.logger.debug({ ...target.details, reason: error.message }, 'one way to log in did not work');
      } else if (refused !== undefined) reject(refused);
      else reject(authenticating && isRefusal(error) ? login.failed(error) : connectionFailed(target, error));
    };
    // A server that refuses a login says so; one that is just gone has refused nothing.
    const closed = (): void =>
      reject(refused ?? connectionFailed(target, new Error('the connection was closed before the login was done')));
    client.on('error', fail).on('close', closed);
    // Again after every exchange of new keys.
    client.on('handshake', () => {
      authenticating = true;
      if (!preparePacketKeys(client)) options.logger.debug(target.details, 'packet keys are used as they are');
    });
    client.once('ready', () => {
      const connection = Connection.of(client, target, options.clock);
      client.off('error', fail).off('close', closed);
      resolve(connection);
    });
    client.connect({
      sock: socket,
      username: endpoint.credentials.username,
      readyTimeout: 0,
      // ssh2 gives up one interval after the last message that may stay unanswered.
      keepaliveInterval: (endpoint.keepaliveIntervalMs * endpoint.keepaliveCount) / (endpoint.keepaliveCount + 1),
      keepaliveCountMax: endpoint.keepaliveCount,
      algorithms: { cipher: [...ciphers], serverHostKey: hostKeys.algorithms },
      authHandler: ((accepted: Parameters<Login['next']>[0]) => login.next(accepted)) as never,
      hostVerifier: (key: Buffer, verify: (valid: boolean) => void) => {
        hostKeys.verify(key).then(
          () => verify(true),
          (error: unknown) => {
            refused = error;
            verify(false);
          },
        );
      },
    });
  });
}

/** Once the handshake is done, only the socket's own errors are not about the login. */
function isRefusal(error: Error & { readonly level?: string }): boolean {
  return error.level !== 'client-socket' && error.level !== 'client-timeout' && error.level !== 'protocol';
}
