import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { PostgresConnection } from './postgres-connection.ts';
import type { PostgresLinks } from './postgres-links.ts';
import { prepared, type Bind } from './prepared.ts';
import type { CommitSignal } from './provider.ts';
import type { Schema } from './schema.ts';

const notify = prepared((db, p: Bind<{ channel: string; me: string }>) =>
  db.selectNoFrom((eb) => eb.fn('pg_notify', [eb.val(p('channel')), eb.val(p('me'))]).as('told')),
);

/**
 * Word of commits by NOTIFY. It is a hint: what is told while a connection is down is lost, so whoever waits also
 * looks now and then, and everybody looks once the connection is back.
 */
export class PostgresSignal implements CommitSignal, AsyncDisposable {
  readonly #links: PostgresLinks;
  readonly #channel: string;
  readonly #me = randomUUID();
  readonly #listeners = new Set<() => void>();
  #connection: PostgresConnection | undefined;
  #listening = false;
  #disposed = false;

  constructor(links: PostgresLinks, channel: string) {
    this.#links = links;
    this.#channel = channel;
  }

  /** Outside of a transaction: nobody needs it, for each tells with its own commit. */
  tell(): void {}

  async tellWith(transaction: Kysely<Schema>): Promise<void> {
    await notify.send(transaction, { channel: this.#channel, me: this.#me });
  }

  listen(heard: () => void): Disposable {
    this.#listeners.add(heard);
    if (!this.#listening) void this.#listen();
    return { [Symbol.dispose]: () => this.#listeners.delete(heard) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#listeners.clear();
    await this.#connection?.close();
  }

  async #listen(): Promise<void> {
    this.#listening = true;
    while (!this.#disposed && this.#listeners.size > 0) {
      try {
        await this.#listenOnce();
      } catch {
        // The server is away for longer than we wait; looking now and then finds it when it is back.
      }
    }
    this.#listening = false;
  }

  async #listenOnce(): Promise<void> {
    const connection = await this.#links.connect(() => true);
    this.#connection = connection;
    connection.onNotification((from) => {
      if (from !== this.#me) this.#heard();
    });
    const ended = new Promise<void>((resolve) => connection.onEnd(resolve));
    await connection.run(`listen "${this.#channel}"`);
    // What was told while nobody listened.
    this.#heard();
    await ended;
  }

  #heard(): void {
    for (const heard of [...this.#listeners]) heard();
  }
}
