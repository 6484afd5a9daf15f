import {
  IdentifierNode,
  RawNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  ValueNode,
  createQueryId,
  type CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type Driver,
  type Kysely,
  type LimitNode,
  type QueryCompiler,
  type TransactionSettings,
} from 'kysely';
import { sleep } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import { SqliteConnection, type SqliteConnectionOptions, type SqliteHandle } from './sqlite-connection.ts';
import { SqliteLine } from './sqlite-line.ts';
import { SqliteSession } from './sqlite-session.ts';

/** What {@link sqliteDialect} takes. */
export interface SqliteDialectOptions {
  /** An open database: `DatabaseSync`, or one of better-sqlite3 or libsql. The dialect closes it. */
  readonly database: SqliteHandle;
  /** Names the database in errors. Default: `:memory:`. */
  readonly path?: string;
  /** How long a statement waits for another connection's lock, in ms. Default `limits.sqliteLockTimeoutMs`. */
  readonly lockTimeoutMs?: number;
  /**
   * The time that waiting for a lock takes. Default: the machine's, even in a lab with simulated
   * time, for the lock's holder may be another process, which knows nothing of it.
   */
  readonly clock?: Clock;
}

/**
 * Kysely on a synchronous SQLite database with one connection.
 *
 * Transactions begin with `BEGIN IMMEDIATE`: they wait for the write lock at their start, where
 * waiting is harmless, instead of failing in their middle; `read only` ones take no lock. Those that
 * are ready at the same time share one commit, see {@link SqliteLine}.
 */
export function sqliteDialect(options: SqliteDialectOptions): Dialect {
  const resolved: SqliteConnectionOptions = {
    handle: options.database,
    path: options.path ?? ':memory:',
    lockTimeoutMs: options.lockTimeoutMs ?? limits.sqliteLockTimeoutMs,
    clock: options.clock ?? systemClock,
  };
  return {
    createDriver: () => new SqliteDriver(resolved),
    createQueryCompiler: () => new LiteralLimits(),
    createAdapter: () => adapter,
    createIntrospector: (db: Kysely<unknown>): DatabaseIntrospector => new SqliteIntrospector(db),
  };
}

/**
 * Writes limits as they are instead of binding them. SQLite plans by a bound limit's value and so prepares the
 * statement anew whenever one is bound, even the same (sqlite3ExprIsInteger, since 3.48): eight times what
 * a look-up costs.
 */
class LiteralLimits extends SqliteQueryCompiler {
  protected override visitLimit(node: LimitNode): void {
    if (ValueNode.is(node.limit) && typeof node.limit.value === 'number') {
      this.append('limit ');
      this.appendImmediateValue(node.limit.value);
    } else super.visitLimit(node);
  }
}

class OneConnectionAdapter extends SqliteAdapter {
  // The driver queues by itself, see SqliteLine.
  override get supportsMultipleConnections(): boolean {
    return true;
  }

  // SQLite's schema changes are transactional. Kysely then migrates inside a transaction, so that
  // two processes that open a new database at once don't both create its tables.
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

/** One for all databases: the queries that are prepared for it are then built once in a process. */
const adapter = new OneConnectionAdapter();

class SqliteDriver implements Driver {
  readonly #options: SqliteConnectionOptions;
  readonly #connection: SqliteConnection;
  readonly #line: SqliteLine;
  #sessions = 0;
  #allReturned: (() => void) | undefined;

  constructor(options: SqliteConnectionOptions) {
    this.#options = options;
    this.#connection = new SqliteConnection(options);
    this.#line = new SqliteLine(this.#connection);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<SqliteSession> {
    this.#sessions += 1;
    return new SqliteSession(this.#connection, this.#line);
  }

  async releaseConnection(session: SqliteSession): Promise<void> {
    session.end();
    this.#sessions -= 1;
    if (this.#sessions === 0) this.#allReturned?.();
  }

  async beginTransaction(session: SqliteSession, settings: TransactionSettings): Promise<void> {
    await session.begin(settings.accessMode === 'read only');
  }

  async commitTransaction(session: SqliteSession): Promise<void> {
    await session.commit();
  }

  async rollbackTransaction(session: SqliteSession): Promise<void> {
    session.rollback();
  }

  async savepoint(connection: DatabaseConnection, name: string, compile: QueryCompiler['compileQuery']): Promise<void> {
    await connection.executeQuery(savepointCommand('savepoint', name, compile));
  }

  async rollbackToSavepoint(
    connection: DatabaseConnection,
    name: string,
    compile: QueryCompiler['compileQuery'],
  ): Promise<void> {
    await connection.executeQuery(savepointCommand('rollback to', name, compile));
  }

  async releaseSavepoint(
    connection: DatabaseConnection,
    name: string,
    compile: QueryCompiler['compileQuery'],
  ): Promise<void> {
    await connection.executeQuery(savepointCommand('release', name, compile));
  }

  /** Lets those in line finish, for as long as they might wait for a lock, then closes the database. */
  async destroy(): Promise<void> {
    const enough = new AbortController();
    const { clock, lockTimeoutMs, handle } = this.#options;
    const patience = sleep(clock, lockTimeoutMs, enough.signal).catch(() => undefined);
    const allReturned = new Promise<void>((resolve) => (this.#allReturned = resolve));
    if (this.#sessions > 0) await Promise.race([allReturned, patience]);
    enough.abort();
    handle.close();
  }
}

function savepointCommand(command: string, name: string, compile: QueryCompiler['compileQuery']): CompiledQuery {
  const node = RawNode.createWithChildren([RawNode.createWithSql(`${command} `), IdentifierNode.create(name)]);
  return compile(node, createQueryId());
}
