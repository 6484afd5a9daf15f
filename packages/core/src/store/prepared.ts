import type {
  Compilable,
  CompiledQuery,
  DeleteResult,
  InsertResult,
  Kysely,
  QueryCreator,
  QueryResult,
  Selectable,
  UpdateResult,
} from 'kysely';
import { limits } from '../limits.ts';
import type { Schema } from './schema.ts';

/** Stands for a value that is given at each run; an element of a list is named by its index. */
export interface Bind<P> {
  <K extends keyof P>(name: K): P[K];
  <K extends keyof P>(name: K, index: number): P[K] extends readonly (infer E)[] ? E : never;
}

/** What a query gives: nothing for one that only changes rows. */
type RowOf<R> = R extends InsertResult | UpdateResult | DeleteResult ? never : R;

/** A connection on which a query need not wait for its turn, as Kysely has it do. */
interface Immediate {
  /** Runs it without waiting for anything, see `SqliteSession.executeNow`. */
  executeNow?<R>(sql: string, parameters: readonly unknown[]): QueryResult<R> | undefined;
  /** Sends it behind those that have no answer yet, see `PostgresSession.executeSoon`. */
  executeSoon?<R>(sql: string, parameters: readonly unknown[]): Promise<QueryResult<R>>;
}

const connections = new WeakMap<Kysely<Schema>, Immediate>();

/** Asks for the connection that a transaction runs on, so that prepared queries find it. */
export async function noteConnection(transaction: Kysely<Schema>): Promise<void> {
  const connection = (await transaction.getExecutor().provideConnection(async (provided) => provided)) as Immediate;
  connections.set(transaction, connection);
}

class Parameter {
  readonly name: string;
  readonly index: number | undefined;

  constructor(name: string, index: number | undefined) {
    this.name = name;
    this.index = index;
  }

  in(values: Readonly<Record<string, unknown>>): unknown {
    const value = values[this.name];
    return this.index === undefined ? value : (value as readonly unknown[])[this.index];
  }
}

function parametersOf({ parameters }: CompiledQuery, values: unknown): readonly unknown[] {
  return parameters.map((parameter) =>
    parameter instanceof Parameter ? parameter.in(values as Readonly<Record<string, unknown>>) : parameter,
  );
}

/**
 * A query whose SQL is made once for each dialect and after that only run. Building and compiling
 * costs Kysely several times what running a look-up costs SQLite: worth it for what each reservation
 * and each step of work does, not elsewhere.
 */
export class PreparedQuery<P, R> {
  readonly #build: (db: QueryCreator<Schema>, bind: Bind<P>) => Compilable<R>;
  readonly #compiled = new WeakMap<object, CompiledQuery<R>>();

  constructor(build: (db: QueryCreator<Schema>, bind: Bind<P>) => Compilable<R>) {
    this.#build = build;
  }

  /** All rows. */
  async all(db: Kysely<Schema>, values: P): Promise<RowOf<R>[]> {
    return (this.#now(db, values) ?? (await this.#later(db, values))).rows as RowOf<R>[];
  }

  /** The first row, if there is one. */
  async first(db: Kysely<Schema>, values: P): Promise<RowOf<R> | undefined> {
    return (this.#now(db, values) ?? (await this.#later(db, values))).rows[0] as RowOf<R> | undefined;
  }

  /** Runs it for its effect and gives the number of rows it changed. */
  async run(db: Kysely<Schema>, values: P): Promise<number> {
    return Number((this.#now(db, values) ?? (await this.#later(db, values))).numAffectedRows ?? 0n);
  }

  /**
   * Runs it for its effect, in a transaction. Where statements may be sent ahead of the answers to earlier ones, its own
   * is not waited for: should it fail, so will what comes behind it, and the commit.
   */
  async send(db: Kysely<Schema>, values: P): Promise<void> {
    if (this.#now(db, values) !== undefined) return;
    const answer = this.#later(db, values);
    if (connections.get(db)?.executeSoon === undefined) await answer;
    else answer.catch(() => undefined);
  }

  /**
   * Asks for all rows before it is known whether they are needed, where statements may be sent ahead of the answers to
   * earlier ones; elsewhere that would gain nothing, and they are read when the result is called. In a transaction, and
   * where nothing changes them in between.
   */
  ahead(db: Kysely<Schema>, values: P): () => Promise<RowOf<R>[]> {
    if (connections.get(db)?.executeSoon === undefined) return () => this.all(db, values);
    const rows = this.all(db, values);
    rows.catch(() => undefined);
    return () => rows;
  }

  /**
   * Runs it on the connection of its transaction; undefined outside of one. A tenth of what a
   * reservation costs is Kysely's way to that connection, and some more what each wait for nothing costs.
   */
  #now(db: Kysely<Schema>, values: P): QueryResult<R> | undefined {
    const connection = connections.get(db);
    if (connection?.executeNow === undefined) return undefined;
    const compiled = this.#compiledFor(db);
    return connection.executeNow<R>(compiled.sql, parametersOf(compiled, values));
  }

  async #later(db: Kysely<Schema>, values: P): Promise<QueryResult<R>> {
    const compiled = this.#compiledFor(db);
    const parameters = parametersOf(compiled, values);
    return (
      connections.get(db)?.executeSoon?.<R>(compiled.sql, parameters) ?? db.executeQuery({ ...compiled, parameters })
    );
  }

  #compiledFor(db: Kysely<Schema>): CompiledQuery<R> {
    // A transaction is a Kysely of its own; the adapter is what all handles of one database share, and all databases of a dialect of ours.
    const { adapter } = db.getExecutor();
    const known = this.#compiled.get(adapter);
    if (known !== undefined) return known;
    const bind = (name: keyof P, index?: number): never => new Parameter(String(name), index) as never;
    const compiled = this.#build(db, bind).compile();
    this.#compiled.set(adapter, compiled);
    return compiled;
  }
}

/**
 * Prepares a query. Its values are named by the type of the second argument:
 *
 * ```ts
 * const nameOf = prepared((db, p: Bind<{ id: string }>) => db.selectFrom('resources').select('name').where('id', '=', p('id')));
 * const row = await nameOf.first(tx.db, { id });
 * ```
 */
export function prepared<P, R>(build: (db: QueryCreator<Schema>, bind: Bind<P>) => Compilable<R>): PreparedQuery<P, R> {
  return new PreparedQuery(build);
}

/** Prepares the insertion of whole rows into a table. */
export function insertion<T extends keyof Schema>(
  table: T,
): (db: Kysely<Schema>, row: Selectable<Schema[T]>) => Promise<void> {
  const shaped = preparedFor((db, p: Bind<Record<string, unknown>>, columns: readonly string[]) =>
    db.insertInto(table).values(Object.fromEntries(columns.map((column) => [column, p(column)])) as never),
  );
  return async (db, row) => shaped(Object.keys(row)).send(db, row as Record<string, unknown>);
}

/**
 * Prepares a query whose text depends on more than values: on which conditions there are, or on how
 * long a list is. `shape` is plain data that says so; each shape is one query, and the
 * {@link limits.preparedShapes} most recently used stay.
 */
export function preparedFor<S, P, R>(
  build: (db: QueryCreator<Schema>, bind: Bind<P>, shape: S) => Compilable<R>,
): (shape: S) => PreparedQuery<P, R> {
  const shapes = new Map<string, PreparedQuery<P, R>>();
  return (shape) => {
    const key = JSON.stringify(shape);
    const known = shapes.get(key);
    if (known !== undefined && shapes.size < limits.preparedShapes) return known;
    const query = known ?? new PreparedQuery<P, R>((db, bind) => build(db, bind, shape));
    // Near the bound the order of use matters.
    shapes.delete(key);
    shapes.set(key, query);
    const [oldest] = shapes.size > limits.preparedShapes ? shapes.keys() : [];
    if (oldest !== undefined) shapes.delete(oldest);
    return query;
  };
}
