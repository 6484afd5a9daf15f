import pg from 'pg';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { PostgresServer } from '../../../../../test/fixtures/postgres.ts';
import { systemClock } from '../../../src/runtime.ts';
import { postgres, type PostgresOptions } from '../../../src/store/postgres-provider.ts';
import { Store } from '../../../src/store/store.ts';

/** A server of a suite's own, and a schema of each test's own. */
export interface ServerOfSuite {
  readonly server: PostgresServer;
  readonly schema: string;
  /** Opens the test's store once more. */
  open(options?: PostgresOptions): Promise<Store>;
  /** Asks the server itself. */
  ask(text: string): Promise<Record<string, unknown>[]>;
  /** Ends the connections of labs, all or those whose last statement begins so; gives their number. */
  hangUp(statement?: string): Promise<number>;
}

/** Starts a server before the tests of a file, and stops it after them. */
export function serverOfSuite(): ServerOfSuite {
  let server: PostgresServer | undefined;
  let number = 0;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  beforeEach(() => {
    number += 1;
  });
  return {
    get server() {
      if (server === undefined) throw new TypeError('the server is started before the first test');
      return server;
    },
    get schema() {
      return `lab_${number}`;
    },
    open(options = {}) {
      return Store.open(postgres({ url: this.server.url, schema: this.schema, ...options }), systemClock);
    },
    async ask(text) {
      const client = new pg.Client({ connectionString: this.server.url });
      // The end of its connection is one for the statement under way; without a listener it would be the process's, too.
      client.on('error', () => undefined);
      await client.connect();
      try {
        return (await client.query<Record<string, unknown>>(text)).rows;
      } finally {
        await client.end();
      }
    },
    async hangUp(statement = '') {
      const ended = await this.ask(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'bringup' and query ilike '${statement}%'`,
      );
      return ended.length;
    },
  };
}

/** Writes something down in a transaction, which does something else before its end. */
export async function addFact(store: Store, name: string, after?: () => Promise<unknown>): Promise<void> {
  await store.transaction(async ({ db }) => {
    await db.insertInto('facts').values({ name, value: 'x' }).execute();
    await after?.();
  });
}

/** What is written down. */
export async function facts(store: Store): Promise<string[]> {
  const rows = await store.db.selectFrom('facts').select('name').orderBy('name').execute();
  return rows.map(({ name }) => name);
}

/** Lets the event loop turn. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
