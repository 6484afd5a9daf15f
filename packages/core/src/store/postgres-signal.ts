import { randomUUID } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { PostgresConnection } from './postgres-connection.ts';
import type { NewEvents } from './new-events.ts';
import type { PostgresLinks } from './postgres-links.ts';
import type { CommitSignal } from './provider.ts';
import type { Schema } from './schema.ts';
import type { Topic } from './topics.ts';

/** A payload must be shorter, https://www.postgresql.org/docs/current/sql-notify.html */
const payloadBytes = 8_000;

/** Who tells, and of what: without topics when they are too many. */
interface Word {
  readonly from: string;
  readonly topics?: readonly Topic[];
}

function written(word: Word): string {
  const text = JSON.stringify(word);
  return Buffer.byteLength(text) < payloadBytes ? text : JSON.stringify({ from: word.from });
}

/** What is no word of ours may be anybody's about anything. */
function read(payload: string): Word {
  try {
    const { from, topics } = JSON.parse(payload) as Partial<Word>;
    return { from: String(from), ...(Array.isArray(topics) && { topics: topics as Topic[] }) };
  } catch {
    return { from: '' };
  }
}

/**
 * Word of commits by NOTIFY. It is a hint: what is told while a connection is down is lost, so whoever waits also
 * looks now and then, and everybody looks once the connection is back.
 */
export class PostgresSignal implements CommitSignal, AsyncDisposable {
  readonly #links: PostgresLinks;
  readonly #channel: string;
  readonly #me = randomUUID();
  readonly #listeners = new Set<(topics?: readonly Topic[]) => void>();
  #connection: PostgresConnection | undefined;
  #listening = false;
  #disposed = false;

  constructor(links: PostgresLinks, channel: string) {
    this.#links = links;
    this.#channel = channel;
  }

  /** Outside of a transaction: nobody needs it, for each tells with its own commit. */
  tell(): void {}

  async tellWith(transaction: Kysely<Schema>, topics: readonly Topic[], events: NewEvents): Promise<void> {
    await events.addWith(transaction, { channel: this.#channel, word: written({ from: this.#me, topics }) });
  }

  listen(heard: (topics?: readonly Topic[]) => void): Disposable {
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
    connection.onNotification((payload) => {
      const { from, topics } = read(payload);
      if (from !== this.#me) this.#heard(topics);
    });
    const ended = new Promise<void>((resolve) => connection.onEnd(resolve));
    await connection.run(`listen "${this.#channel}"`);
    // What was told while nobody listened.
    this.#heard();
    await ended;
  }

  #heard(topics?: readonly Topic[]): void {
    for (const heard of [...this.#listeners]) heard(topics);
  }
}
