import {
  ColumnDefinitionNode,
  PostgresAdapter,
  PostgresIntrospector,
  PostgresQueryCompiler,
  type DataTypeNode,
  type DatabaseIntrospector,
  type Dialect,
  type Driver,
  type Kysely,
} from 'kysely';
import { limits } from '../limits.ts';
import { settledWithin } from '../local/deadline.ts';
import { systemClock } from '../runtime.ts';
import { PostgresLine } from './postgres-line.ts';
import type { PostgresLinks } from './postgres-links.ts';
import { PostgresSession } from './postgres-session.ts';

/** Kysely on PostgreSQL, with transactions as {@link PostgresLine} runs them. */
export function postgresDialect(links: PostgresLinks, lock: string): Dialect {
  return {
    createDriver: () => new PostgresDriver(links, lock),
    createQueryCompiler: () => new BinaryText(),
    createAdapter: () => adapter,
    createIntrospector: (db: Kysely<unknown>): DatabaseIntrospector => new PostgresIntrospector(db),
  };
}

/** Text is ordered by its bytes, as SQLite orders it, whatever language the database speaks. */
class BinaryText extends PostgresQueryCompiler {
  protected override visitDataType(node: DataTypeNode): void {
    super.visitDataType(node);
    const parent = this.parentNode;
    if (node.dataType === 'text' && parent !== undefined && ColumnDefinitionNode.is(parent)) {
      this.append(' collate "C"');
    }
  }
}

/** Migrations run in a transaction, which has the lab's lock. */
class LockedAdapter extends PostgresAdapter {
  override async acquireMigrationLock(): Promise<void> {}
  override async releaseMigrationLock(): Promise<void> {}
}

/** One for all databases: the queries that are prepared for it are then built once in a process. */
const adapter = new LockedAdapter();

class PostgresDriver implements Driver {
  readonly #links: PostgresLinks;
  readonly #line: PostgresLine;
  #sessions = 0;
  #allReturned: (() => void) | undefined;

  constructor(links: PostgresLinks, lock: string) {
    this.#links = links;
    this.#line = new PostgresLine(links, lock);
  }

  async init(): Promise<void> {}

  async acquireConnection(): Promise<PostgresSession> {
    this.#sessions += 1;
    return new PostgresSession(this.#links, this.#line);
  }

  async releaseConnection(session: PostgresSession): Promise<void> {
    await session.end();
    this.#sessions -= 1;
    if (this.#sessions === 0) this.#allReturned?.();
  }

  async beginTransaction(session: PostgresSession): Promise<void> {
    await session.begin();
  }

  async commitTransaction(session: PostgresSession): Promise<void> {
    await session.commit();
  }

  async rollbackTransaction(session: PostgresSession): Promise<void> {
    await session.rollback();
  }

  /** Lets those in line finish, then hangs up. */
  async destroy(): Promise<void> {
    const allReturned = new Promise<void>((resolve) => (this.#allReturned = resolve));
    if (this.#sessions > 0) await settledWithin(systemClock, limits.postgresPatienceMs, allReturned);
    await this.#links.close();
  }
}
