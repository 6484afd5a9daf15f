import { limits } from '../limits.ts';
import type { SqliteConnection } from './sqlite-connection.ts';

/** A transaction that has done its part and waits for the commit it shares. */
interface Member {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The line for the one connection of a database. Whoever has the turn has the connection.
 *
 * Transactions that write share commits: those that are in line when one of them has done its part
 * run in the same transaction of SQLite, each in a savepoint of its own, and one commit makes all of
 * them durable. Nobody waits for company: as soon as no transaction is in line, the group commits.
 * Readers never come in between, so they see committed data only. A group has a bound, and all who
 * wait to read when it ends go before the next one.
 */
export class SqliteLine {
  readonly #connection: SqliteConnection;
  readonly #readers: (() => void)[] = [];
  readonly #writers: (() => void)[] = [];
  #taken = false;
  /** Readers whose turn comes before the next transaction that writes. */
  #readersFirst = 0;
  /** When this process last had SQLite's write lock. */
  #heldLockAt = 0;
  /** Members of the open group; undefined when no transaction is open. */
  #group: Member[] | undefined;
  /** Transactions since the event loop turned. */
  #sinceTurn = 0;
  #nextTurnOfLoop: Promise<void> | undefined;

  constructor(connection: SqliteConnection) {
    this.#connection = connection;
  }

  /** Waits for a turn outside of all transactions. */
  async enterAlone(): Promise<void> {
    await this.#enter(this.#readers);
  }

  /** Gives back a turn of {@link enterAlone}. */
  leave(): void {
    this.#next();
  }

  /**
   * Waits for a turn as a writing transaction and begins it.
   * @returns whether it runs in a savepoint of a group that others began.
   * @throws `store-failed` when another process's lock stays; the turn is given back then.
   */
  async begin(): Promise<boolean> {
    const since = this.#connection.now();
    await this.#enter(this.#writers);
    this.#sinceTurn += 1;
    try {
      if (this.#group !== undefined) {
        this.#connection.run('savepoint bringup_member');
        return true;
      }
      await this.#letOthersRun();
      // All who are in line wait for another process's lock together, not one after the other.
      await this.#connection.runWhenUnlocked('begin immediate', Math.max(since, this.#heldLockAt));
      this.#group = [];
      return false;
    } catch (error) {
      this.#next();
      throw error;
    }
  }

  /** Ends a member's part and gives back its turn. Resolves when it is durable. @throws what the shared commit throws. */
  async commit(inSavepoint: boolean): Promise<void> {
    const group = this.#group;
    try {
      if (group === undefined || !this.#connection.inTransaction) {
        throw endedInside();
      }
      if (inSavepoint) this.#connection.run('release bringup_member');
    } catch (error) {
      this.#abandon(error);
      this.#next();
      throw error;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    group.push({ resolve, reject });
    this.#next();
    await promise;
  }

  /**
   * Takes back a member's part and gives back its turn. The others of its group stay, unless SQLite
   * has rolled back the whole transaction by itself because of `failure`, as it does on a full disk.
   */
  rollback(inSavepoint: boolean, failure: unknown): void {
    try {
      if (!this.#connection.inTransaction) this.#abandon(failure ?? endedInside());
      else if (inSavepoint) {
        this.#connection.run('rollback to bringup_member');
        this.#connection.run('release bringup_member');
      } else this.#abandon(undefined);
    } catch (error) {
      this.#abandon(error);
      throw error;
    } finally {
      this.#next();
    }
  }

  async #enter(line: (() => void)[]): Promise<void> {
    if (!this.#taken) {
      this.#taken = true;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    line.push(resolve);
    await promise;
  }

  /** Passes the turn on. */
  #next(): void {
    if (this.#group !== undefined) {
      const member = this.#group.length < limits.storeGroupMembers ? this.#writers.shift() : undefined;
      if (member !== undefined) {
        member();
        return;
      }
      this.#commitGroup();
    }
    const reader = this.#readersFirst > 0 || this.#writers.length === 0 ? this.#readers.shift() : undefined;
    if (this.#readersFirst > 0) this.#readersFirst -= 1;
    const next = reader ?? this.#writers.shift();
    if (next === undefined) this.#taken = false;
    else next();
  }

  #commitGroup(): void {
    try {
      this.#connection.run('commit');
      for (const { resolve } of this.#close()) resolve();
    } catch (error) {
      this.#abandon(error);
    }
  }

  /** Ends the open transaction without a commit and tells the members that were done. */
  #abandon(error: unknown): void {
    const group = this.#close();
    for (const { reject } of group) reject(error);
    try {
      if (this.#connection.inTransaction) this.#connection.run('rollback');
    } catch {
      // The database is gone. What led here says more than this, and the next statement will say it again.
    }
  }

  #close(): readonly Member[] {
    const group = this.#group ?? [];
    this.#group = undefined;
    this.#heldLockAt = this.#connection.now();
    this.#readersFirst = this.#readers.length;
    return group;
  }

  /**
   * Statements don't wait for anything, so a program that always has a next transaction ready would
   * never let the event loop turn: now and then it has to, for timers, sockets and heartbeats.
   */
  async #letOthersRun(): Promise<void> {
    this.#nextTurnOfLoop ??= new Promise((resolve) =>
      setImmediate(() => {
        this.#nextTurnOfLoop = undefined;
        this.#sinceTurn = 0;
        resolve();
      }),
    );
    if (this.#sinceTurn > limits.storeGroupMembers) await this.#nextTurnOfLoop;
  }
}

function endedInside(): TypeError {
  return new TypeError('the transaction was ended by a statement inside it');
}
