import { createHash } from 'node:crypto';
import { limits, throwIfAborted, withDeadline } from '@bringup/core';
import type { CallOptions, ShellConnector, ShellSession, ShellTarget } from '@bringup/core';
import { Connection } from './connection.ts';
import type { TargetName } from './errors.ts';
import type { ResolvedOptions } from './options.ts';
import { Pool } from './pool.ts';
import { SshSession } from './session.ts';

/** Sessions over SSH, pooled by target, account and identity. */
export class SshConnector implements ShellConnector {
  readonly name = 'ssh';
  readonly #options: ResolvedOptions;
  readonly #pools = new Map<string, Promise<Pool>>();
  readonly #sessions = new Set<SshSession>();
  readonly #disposal = new AbortController();
  #ending: Promise<void> | undefined;

  constructor(options: ResolvedOptions) {
    this.#options = options;
  }

  async connect(target: ShellTarget, options: CallOptions = {}): Promise<ShellSession> {
    this.#check();
    const name = targetName(target);
    const what = `Connecting to ${name.label}`;
    throwIfAborted(options.signal, what);
    const { clock } = this.#options.connection;
    return withDeadline(clock, what, { timeoutMs: limits.connectTimeoutMs, ...options }, async (signal) => {
      const pool = await this.#pool(target, name);
      throwIfAborted(signal, what);
      this.#check();
      const session = new SshSession(pool, name, clock);
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

  /** The open pool for a target; callers at the same time share the making of one. */
  async #pool(target: ShellTarget, name: TargetName): Promise<Pool> {
    const key = poolKey(target);
    const present = this.#pools.get(key);
    const pool = await present;
    if (pool?.isOpen === true) return pool;
    const again = this.#pools.get(key);
    if (again !== undefined && again !== present) return this.#pool(target, name);
    const making = this.#open(target, name);
    this.#pools.set(key, making);
    const forget = (): void => {
      if (this.#pools.get(key) === making) this.#pools.delete(key);
    };
    making.then((made) => made.closed.then(forget), forget);
    return making;
  }

  /** Other callers may wait for the same connection, so one caller's abort does not end the attempt; time does. */
  async #open(target: ShellTarget, name: TargetName): Promise<Pool> {
    const { connection, pool } = this.#options;
    const open = (signal: AbortSignal): Promise<Connection> =>
      withDeadline(
        connection.clock,
        `Connecting to ${name.label}`,
        { timeoutMs: limits.connectTimeoutMs, signal: AbortSignal.any([signal, this.#disposal.signal]) },
        (attempt) => Connection.open(target, name, connection, attempt),
      );
    return new Pool(await open(this.#disposal.signal), { ...pool, open });
  }

  #check(): void {
    if (this.#ending !== undefined) throw new TypeError('The ssh connector has been disposed.');
  }
}

function targetName({ hostname, address, port = 22, username }: ShellTarget): TargetName {
  return {
    label: `${username}@${hostname}${port === 22 ? '' : `:${port}`}`,
    details: { hostname, address: address ?? hostname, port, username },
  };
}

/** Secrets take part as hashes: the key must not hold what a heap dump could show. */
function poolKey(target: ShellTarget): string {
  const { hostname, address, port, username, keyPath, passphrase, password } = target;
  const secrets = createHash('sha256')
    .update(JSON.stringify([passphrase?.reveal(), password?.reveal()]))
    .digest('base64');
  return JSON.stringify([hostname, address ?? hostname, port ?? 22, username, keyPath, secrets]);
}
