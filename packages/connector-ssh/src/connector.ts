import { createHash } from 'node:crypto';
import { throwIfAborted, withDeadline } from '@bringup/core';
import type { CallOptions, ShellConnector, ShellSession, ShellTarget } from '@bringup/core';
import { openThrough } from './bastion.ts';
import { Connection } from './connection.ts';
import type { ResolvedOptions } from './options.ts';
import { Pool } from './pool.ts';
import { type Endpoint, Router } from './route.ts';
import { SshSession } from './session.ts';

/** Sessions over SSH, pooled by target, account and identity. */
export class SshConnector implements ShellConnector {
  readonly name = 'ssh';
  readonly #options: ResolvedOptions;
  readonly #router: Router;
  readonly #pools = new Map<string, Promise<Pool>>();
  readonly #sessions = new Set<SshSession>();
  readonly #disposal = new AbortController();
  #ending: Promise<void> | undefined;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    this.#router = new Router(options.route);
  }

  async connect(target: ShellTarget, options: CallOptions = {}): Promise<ShellSession> {
    this.#check();
    const label = `${target.username}@${target.hostname}`;
    throwIfAborted(options.signal, `Connecting to ${label}`);
    const endpoint = await this.#router.route(target);
    const what = `Connecting to ${endpoint.name.label}`;
    const { clock } = this.#options.connection;
    return withDeadline(clock, what, { timeoutMs: patience(endpoint), ...options }, async (signal) => {
      const pool = await this.#pool(endpoint);
      throwIfAborted(signal, what);
      this.#check();
      const session = new SshSession(pool, endpoint.name, { clock, sudo: this.#options.sudo });
      this.#sessions.add(session);
      void session.closed.then(() => this.#sessions.delete(session));
      return session;
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#ending ??= (async (): Promise<void> => {
      this.#disposal.abort();
      await Promise.all([...this.#sessions].map((session) => session[Symbol.asyncDispose]()));
      const pools = await Promise.allSettled(this.#pools.values());
      await Promise.all(pools.map(async (pool) => (pool.status === 'fulfilled' ? pool.value.end() : undefined)));
    })();
    return this.#ending;
  }

  /** The open pool for a server; callers at the same time share the making of one. */
  async #pool(endpoint: Endpoint): Promise<Pool> {
    const key = poolKey(endpoint);
    const present = this.#pools.get(key);
    const pool = await present;
    if (pool?.isOpen === true) return pool;
    const again = this.#pools.get(key);
    if (again !== undefined && again !== present) return this.#pool(endpoint);
    this.#check();
    const making = this.#open(endpoint);
    this.#pools.set(key, making);
    const forget = (): void => {
      if (this.#pools.get(key) === making) this.#pools.delete(key);
    };
    making.then((made) => made.closed.then(forget), forget);
    return making;
  }

  /** Other callers may wait for the same connection, so one caller's abort does not end the attempt; time does. */
  async #open(endpoint: Endpoint): Promise<Pool> {
    const { connection, pool } = this.#options;
    const { via, name } = endpoint;
    const open = (signal: AbortSignal): Promise<Connection> =>
      withDeadline(
        connection.clock,
        `Connecting to ${name.label}`,
        { timeoutMs: patience(endpoint), signal: AbortSignal.any([signal, this.#disposal.signal]) },
        (attempt) =>
          via === undefined
            ? Connection.open(endpoint, connection, attempt)
            : openThrough({ endpoint, via, bastion: () => this.#pool(via), options: connection }, attempt),
      );
    return new Pool(await open(this.#disposal.signal), { ...pool, open });
  }

  #check(): void {
    if (this.#ending !== undefined) throw new TypeError('The ssh connector has been disposed.');
  }
}

/** How long connecting may take, with every host on the way. */
function patience(endpoint: Endpoint): number {
  return endpoint.connectTimeoutMs + (endpoint.via === undefined ? 0 : patience(endpoint.via));
}

/** Secrets take part as hashes: the key must not hold what a heap dump could show. */
function poolKey(endpoint: Endpoint): string {
  const { via, name: _name, credentials, ...facts } = endpoint;
  const { passphrase, password, ...login } = credentials;
  const secrets = createHash('sha256')
    .update(JSON.stringify([passphrase?.reveal(), password?.reveal()]))
    .digest('base64');
  return JSON.stringify([facts, login, secrets, via === undefined ? null : poolKey(via)]);
}
