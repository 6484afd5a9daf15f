import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../limits.ts';
import { PostgresConnection, type PostgresSettings } from './postgres-connection.ts';
import { isBusyServer, isLostConnection, postgresFailure } from './postgres-errors.ts';

const longestPauseMs = 250;

/**
 * The connections of one process to its database. One that is lost is made anew when it is next needed: a server
 * that restarts is waited for, as a locked database would be.
 */
export class PostgresLinks {
  readonly settings: PostgresSettings;
  readonly #readers = new Set<PostgresConnection>();
  #connecting: Promise<PostgresConnection> | undefined;
  readonly #open = new Set<PostgresConnection>();
  #closed = false;

  constructor(settings: PostgresSettings) {
    this.settings = settings;
  }

  /**
   * A new connection. One that can't be made is tried again for `limits.postgresPatienceMs`.
   * @throws `store-failed`.
   */
  async connect(worthWaiting: (error: unknown) => boolean = isLostConnection): Promise<PostgresConnection> {
    const giveUpAt = performance.now() + limits.postgresPatienceMs;
    for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      if (this.#closed) throw new TypeError('the lab is closed');
      try {
        const connection = await PostgresConnection.open(this.settings);
        this.#open.add(connection);
        connection.onEnd(() => this.#open.delete(connection));
        return connection;
      } catch (error) {
        const patient = worthWaiting(error) || isBusyServer(error);
        if (!patient || performance.now() >= giveUpAt) throw postgresFailure(error, this.settings.where);
      }
      await pause(pauseMs);
    }
  }

  /**
   * Runs a statement outside of all transactions, on the connection with the least to do. Reading is done again when
   * its connection was lost.
   * @throws `store-failed`, or PostgreSQL's own error.
   */
  async read<T>(ask: (connection: PostgresConnection) => Promise<T>, again: boolean): Promise<T> {
    const giveUpAt = performance.now() + limits.postgresPatienceMs;
    for (;;) {
      const connection = await this.#reader();
      try {
        return await ask(connection);
      } catch (error) {
        if (!again || !isLostConnection(error) || performance.now() >= giveUpAt) {
          throw postgresFailure(error, this.settings.where);
        }
        await connection.close();
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#open].map((connection) => connection.close()));
  }

  async #reader(): Promise<PostgresConnection> {
    for (const reader of this.#readers) if (reader.lost) this.#readers.delete(reader);
    let least: PostgresConnection | undefined;
    for (const reader of this.#readers) if (least === undefined || reader.underWay < least.underWay) least = reader;
    const busy = least === undefined || least.underWay > 0;
    if (busy && this.#connecting === undefined && this.#readers.size < limits.postgresReaders) {
      this.#connecting = this.#addReader();
      this.#connecting.catch(() => undefined);
    }
    return least ?? (await (this.#connecting ?? this.#addReader()));
  }

  /** Meanwhile others read on the connections there are, or wait for this one together. */
  async #addReader(): Promise<PostgresConnection> {
    try {
      const connection = await this.connect();
      this.#readers.add(connection);
      return connection;
    } finally {
      this.#connecting = undefined;
    }
  }
}
