import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import type { SqliteConnection } from './sqlite-connection.ts';
import type { SqliteLine } from './sqlite-line.ts';

/** What Kysely takes for a connection: a place in the line for the one there is. */
export class SqliteSession implements DatabaseConnection {
  readonly #connection: SqliteConnection;
  readonly #line: SqliteLine;
  #state: 'idle' | 'alone' | 'reading' | 'first' | 'in-savepoint' | 'over' = 'idle';
  /** The error with which SQLite ended the transaction by itself. */
  #broken: unknown;

  constructor(connection: SqliteConnection, line: SqliteLine) {
    this.#connection = connection;
    this.#line = line;
  }

  async executeQuery<R>(
    query: CompiledQuery,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<QueryResult<R>> {
    await this.#haveTurn();
    try {
      return await this.#connection.executeQuery<R>(query, options);
    } catch (error) {
      if (this.#writes && !this.#connection.inTransaction) this.#broken ??= error;
      throw error;
    }
  }

  /**
   * Runs a query at once in a transaction that writes: it has the turn and SQLite's lock. Undefined where
   * that is not so; `executeQuery` waits then, or says what is wrong.
   */
  executeNow<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> | undefined {
    if (!this.#writes || this.#broken !== undefined) return undefined;
    try {
      return this.#connection.executeNow<R>(sql, parameters);
    } catch (error) {
      if (!this.#connection.inTransaction) this.#broken ??= error;
      throw error;
    }
  }

  async *streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    await this.#haveTurn();
    yield* this.#connection.streamQuery<R>(query, chunkSize);
  }

  async begin(readOnly: boolean): Promise<void> {
    if (readOnly) {
      await this.#haveTurn();
      this.#connection.run('begin');
      this.#state = 'reading';
    } else {
      this.#state = (await this.#line.begin()) ? 'in-savepoint' : 'first';
    }
  }

  async commit(): Promise<void> {
    if (!this.#writes) {
      this.#connection.run('commit');
      this.#state = 'alone';
      return;
    }
    // It goes on in the transaction of SQLite that is open only if none of its statements ended that.
    if (this.#broken !== undefined) throw this.#broken;
    const inSavepoint = this.#state === 'in-savepoint';
    this.#state = 'over';
    await this.#line.commit(inSavepoint);
  }

  rollback(): void {
    if (this.#state === 'reading') {
      if (this.#connection.inTransaction) this.#connection.run('rollback');
      this.#state = 'alone';
    } else if (this.#writes) {
      const inSavepoint = this.#state === 'in-savepoint';
      this.#state = 'over';
      this.#line.rollback(inSavepoint, this.#broken);
    }
  }

  /** Gives back the turn, if it still has one. */
  end(): void {
    if (this.#writes) this.rollback();
    else if (this.#state === 'alone' || this.#state === 'reading') this.#line.leave();
    this.#state = 'over';
  }

  get #writes(): boolean {
    return this.#state === 'first' || this.#state === 'in-savepoint';
  }

  async #haveTurn(): Promise<void> {
    if (this.#state === 'over') {
      // In its place another transaction may run by now.
      throw new TypeError('a query came after the end of its transaction; await every query inside it');
    }
    if (this.#broken !== undefined) throw this.#broken;
    if (this.#state === 'idle') {
      await this.#line.enterAlone();
      this.#state = 'alone';
    }
  }
}
