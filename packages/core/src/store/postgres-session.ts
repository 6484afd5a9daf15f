import type { CompiledQuery, DatabaseConnection, QueryResult } from 'kysely';
import { postgresFailure } from './postgres-errors.ts';
import type { PostgresLine, PostgresTurn } from './postgres-line.ts';
import type { PostgresLinks } from './postgres-links.ts';

/** What may be asked twice without harm. Raw SQL outside of transactions only looks. */
const harmless: readonly string[] = ['SelectQueryNode', 'RawNode'];

/** What Kysely takes for a connection: outside of a transaction any one, in it that of the line. */
export class PostgresSession implements DatabaseConnection {
  readonly #links: PostgresLinks;
  readonly #line: PostgresLine;
  #turn: PostgresTurn | undefined;
  #over = false;
  readonly #unanswered = new Set<Promise<void>>();
  /** The first error of a statement: PostgreSQL does nothing more in the transaction after it. */
  #broken: unknown;

  constructor(links: PostgresLinks, line: PostgresLine) {
    this.#links = links;
    this.#line = line;
  }

  async executeQuery<R>({ sql, parameters, query }: CompiledQuery): Promise<QueryResult<R>> {
    if (this.#turn !== undefined || this.#over) return await this.executeSoon(sql, parameters);
    return await this.#links.read((reader) => reader.query<R>(sql, parameters), harmless.includes(query.kind));
  }

  /** Sends a query of the transaction at once, behind those that have no answer yet. */
  executeSoon<R>(sql: string, parameters: readonly unknown[]): Promise<QueryResult<R>> {
    const answer = this.#ask<R>(sql, parameters);
    const settled = answer.then(
      () => undefined,
      () => undefined,
    );
    this.#unanswered.add(settled);
    void settled.then(() => this.#unanswered.delete(settled));
    return answer;
  }

  async #ask<R>(sql: string, parameters: readonly unknown[]): Promise<QueryResult<R>> {
    const turn = this.#turn;
    if (turn === undefined) {
      throw new TypeError('a query came after the end of its transaction; await every query inside it');
    }
    if (this.#broken !== undefined) throw this.#broken;
    const { group } = turn;
    const { connection } = group;
    try {
      try {
        return await connection.query<R>(sql, parameters);
      } catch (error) {
        const begun = await group.begun;
        if (begun.connection === connection) throw error;
        // Its connection was lost before the transaction had begun.
        return await begun.connection.query<R>(sql, parameters);
      }
    } catch (error) {
      this.#broken ??= postgresFailure(error, this.#links.settings.where);
      throw this.#broken;
    }
  }

  async *streamQuery<R>(query: CompiledQuery): AsyncIterableIterator<QueryResult<R>> {
    yield await this.executeQuery<R>(query);
  }

  async begin(): Promise<void> {
    this.#turn = await this.#line.begin();
  }

  async commit(): Promise<void> {
    // It may have asked for nothing so far.
    await this.#turn?.group.begun;
    // A statement that fails would take those with it that share the commit.
    if (!this.#line.alone) await Promise.all(this.#unanswered);
    if (this.#broken !== undefined) throw this.#broken;
    this.#turn = undefined;
    this.#over = true;
    try {
      await this.#line.commit();
    } catch (error) {
      throw this.#broken ?? error;
    }
  }

  async rollback(): Promise<void> {
    const turn = this.#turn;
    this.#turn = undefined;
    this.#over = true;
    if (turn === undefined) return;
    // On whichever connection it has begun, it is to end.
    await turn.group.begun.catch(() => undefined);
    this.#line.rollback(turn);
  }

  /** Gives back the turn, if it still has one. */
  async end(): Promise<void> {
    await this.rollback();
  }
}
