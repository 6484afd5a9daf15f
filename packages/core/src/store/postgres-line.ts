import { setTimeout as pause } from 'node:timers/promises';
import { limits } from '../limits.ts';
import type { PostgresConnection } from './postgres-connection.ts';
import { isLostConnection, postgresFailure } from './postgres-errors.ts';
import type { PostgresLinks } from './postgres-links.ts';

/**
 * Which life of the server this is: since when it runs, and its own processes, which it starts anew when it recovers from
 * the crash of a backend. Everybody may see their numbers.
 */
const ownProcesses = `select string_agg(pid::text, ' ' order by pid) from pg_stat_activity where datid is null and usesysid is null`;
const life = `pg_postmaster_start_time() || ' ' || coalesce((${ownProcesses}), '')`;

/** A transaction that has done its part and waits for the commit it shares. */
interface Member {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** One transaction of PostgreSQL. */
interface Begun {
  readonly connection: PostgresConnection;
  /** PostgreSQL's name for the transaction, by which it tells later how it ended. */
  readonly xid: string;
}

/** Transactions that share one of PostgreSQL's. */
interface Group {
  /** Where statements go. They need not wait for `begun`: PostgreSQL answers one after the other. */
  connection: PostgresConnection;
  /**
   * On another connection where the first was lost before it had begun: what was sent there has to be sent again.
   * @throws `store-failed`.
   */
  readonly begun: Promise<Begun>;
  readonly done: Member[];
  /** Whether there is a savepoint of an earlier member. */
  saved: boolean;
}

/** A place in the line: where the transaction runs. */
export interface PostgresTurn {
  readonly group: Pick<Group, 'connection' | 'begun'>;
  readonly inSavepoint: boolean;
}

/**
 * The line of the transactions of one process. All that write to one lab take the same lock for their whole length, as
 * SQLite's do: what one reads stays true until it commits, and events are numbered in the order of their commits.
 *
 * As there, those that are in line when one has done its part run in the same transaction of PostgreSQL, each in a
 * savepoint of its own, and share its commit. Nobody waits for company.
 */
export class PostgresLine {
  readonly #links: PostgresLinks;
  readonly #lock: string;
  readonly #writers: (() => void)[] = [];
  /** The life of the server in which each connection was made: none outlives it. */
  readonly #lives = new WeakMap<PostgresConnection, string>();
  #connection: PostgresConnection | undefined;
  #taken = false;
  #group: Group | undefined;

  /** @param lock SQL expression of the lock's key. */
  constructor(links: PostgresLinks, lock: string) {
    this.#links = links;
    this.#lock = lock;
  }

  /** Waits for a turn and sends a transaction's beginning. @throws `store-failed`; the turn is given back then. */
  async begin(): Promise<PostgresTurn> {
    await this.#enter();
    try {
      const group = this.#group;
      if (group === undefined) {
        this.#group = await this.#open();
        return { group: this.#group, inSavepoint: false };
      }
      // Its answer is not waited for: should it fail, so will the statements behind it.
      const release = group.saved ? 'release savepoint bringup_member; ' : '';
      group.saved = true;
      void group.connection.run(`${release}savepoint bringup_member`).catch(() => undefined);
      return { group, inSavepoint: true };
    } catch (error) {
      this.#next();
      throw error;
    }
  }

  /** Whether whoever has the turn shares its transaction with nobody, so far. */
  get alone(): boolean {
    return this.#writers.length === 0 && this.#group?.done.length === 0;
  }

  /** Ends the part of a member that has begun, and gives back its turn. Resolves when it is durable. @throws `store-failed`. */
  async commit(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#group === undefined) reject(new TypeError('the transaction is over'));
    else this.#group.done.push({ resolve, reject });
    this.#next();
    await promise;
  }

  /** Takes back a member's part and gives back its turn. The others of its group stay, unless the connection is gone. */
  rollback({ inSavepoint }: PostgresTurn): void {
    const group = this.#group;
    if (group !== undefined && group.connection.lost) {
      this.#group = undefined;
      const error = postgresFailure(new Error('Connection terminated in a transaction'), this.#links.settings.where);
      for (const { reject } of group.done) reject(error);
    } else if (group !== undefined && inSavepoint) {
      void group.connection.run('rollback to savepoint bringup_member').catch(() => undefined);
    } else if (group !== undefined) {
      this.#group = undefined;
      void group.connection.run('rollback').catch(() => undefined);
    }
    this.#next();
  }

  async #enter(): Promise<void> {
    if (!this.#taken) {
      this.#taken = true;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#writers.push(resolve);
    await promise;
  }

  /** Passes the turn on. */
  #next(): void {
    const full = this.#group !== undefined && this.#group.done.length >= limits.storeGroupMembers;
    if (this.#group !== undefined && (full || this.#writers.length === 0)) {
      void this.#commitGroup(this.#group);
      this.#group = undefined;
    }
    const next = this.#writers.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }

  async #open(): Promise<Group> {
    const { promise: begun, resolve } = Promise.withResolvers<Begun>();
    const group: Group = { connection: await this.#connected(), begun, done: [], saved: false };
    resolve(this.#begin(group));
    begun.catch(() => undefined);
    return group;
  }

  async #connected(): Promise<PostgresConnection> {
    while (this.#connection === undefined || this.#connection.lost) this.#connection = await this.#connect();
    return this.#connection;
  }

  async #connect(): Promise<PostgresConnection> {
    const connection = await this.#links.connect();
    try {
      const { row } = await connection.run(`select ${life} as life`);
      this.#lives.set(connection, String(row['life']));
    } catch (error) {
      if (!isLostConnection(error)) throw postgresFailure(error, this.#links.settings.where);
      await connection.close();
    }
    return connection;
  }

  /** Begins PostgreSQL's transaction. A connection that turns out to be gone has done nothing yet: another one will do. */
  async #begin(group: Group): Promise<Begun> {
    const giveUpAt = performance.now() + limits.postgresPatienceMs;
    for (;;) {
      const { connection } = group;
      try {
        // Together: what each statement costs to send is a good part of what a small transaction does.
        const { row } = await connection.run(
          `begin; select pg_advisory_xact_lock(${this.#lock}), pg_current_xact_id()::text as xid`,
        );
        return { connection, xid: String(row['xid']) };
      } catch (error) {
        const lost = connection.lost || isLostConnection(error);
        if (lost) await connection.close();
        if (!lost || performance.now() >= giveUpAt) throw postgresFailure(error, this.#links.settings.where);
      }
      group.connection = await this.#connected();
    }
  }

  /** The next transaction may follow on the connection at once: it can't overtake the commit. */
  async #commitGroup({ connection, begun, done }: Group): Promise<void> {
    try {
      await this.#commitOrFindOut(connection, begun);
      for (const { resolve } of done) resolve();
    } catch (error) {
      const failure = postgresFailure(error, this.#links.settings.where);
      for (const { reject } of done) reject(failure);
    }
  }

  async #commitOrFindOut(connection: PostgresConnection, begun: Promise<Begun>): Promise<void> {
    try {
      const { command } = await connection.run('commit');
      // PostgreSQL answers so when a statement had failed, and nobody took that back.
      if (command !== 'COMMIT') throw new TypeError('a statement of the transaction failed and was passed over');
    } catch (error) {
      if (!isLostConnection(error) || !(await this.#wasCommitted(await begun))) throw error;
    }
  }

  /**
   * Whether a transaction whose connection was lost at its commit is known to have been committed. A server that crashed
   * gives the names of transactions that it forgot to others: nobody knows then, and whoever asked is told that it may be
   * tried again, and looks.
   */
  async #wasCommitted({ connection, xid }: Begun): Promise<boolean> {
    const giveUpAt = performance.now() + limits.postgresPatienceMs;
    // A name that was not given anew yet is not even taken.
    const same = `${life} = '${this.#lives.get(connection) ?? ''}'`;
    const statement = `select case when ${same} then pg_xact_status('${xid}') else 'forgotten' end as status`;
    for (;;) {
      const { row } = await this.#links.read((reader) => reader.run(statement), true);
      // One whose server has not noticed yet goes on for `limits.postgresIdleMs` at most.
      if (row['status'] !== 'in progress' || performance.now() >= giveUpAt) return row['status'] === 'committed';
      await pause(50);
    }
  }
}
