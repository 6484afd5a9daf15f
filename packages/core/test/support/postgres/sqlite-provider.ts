// Stands in for src/store/sqlite-provider.ts when the unit suite runs on PostgreSQL: whoever asks for a
// SQLite database gets a schema of the suite's server, the same one for the same path.
import { createHash, randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import pg from 'pg';
import { postgres } from '../../../src/store/postgres-provider.ts';
import type { StoreProvider } from '../../../src/store/provider.ts';

export interface SqliteOptions {
  readonly path?: string;
}

/** Schemas that nobody uses any more, emptied: making one anew takes longer than many a test. */
const free: string[] = [];

const url = process.env['BRINGUP_TEST_POSTGRES'] ?? '';

export function sqlite({ path }: SqliteOptions = {}): StoreProvider {
  if (path !== undefined && path !== ':memory:') {
    const schema = `file_${createHash('sha256').update(path).digest('hex').slice(0, 32)}`;
    return {
      async open() {
        // Others look for their own files beside it.
        await mkdir(dirname(path), { recursive: true });
        return await postgres({ url, schema }).open();
      },
    };
  }
  return {
    async open() {
      const schema = free.pop() ?? `test_${randomUUID().replaceAll('-', '')}`;
      const opened = await postgres({ url, schema }).open();
      return {
        ...opened,
        close: async () => {
          await opened.close();
          await empty(schema);
          free.push(schema);
        },
      };
    },
  };
}

async function empty(schema: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `select tablename as name from pg_tables where schemaname = $1 and tablename not like 'kysely%'`,
      [schema],
    );
    const deletes = rows.map(({ name }) => `delete from ${schema}.${name}`).join('; ');
    const { rows: sequences } = await client.query<{ name: string }>(
      `select sequencename as name from pg_sequences where schemaname = $1`,
      [schema],
    );
    const restarts = sequences.map(({ name }) => `alter sequence ${schema}.${name} restart`).join('; ');
    await client.query(`begin; set local session_replication_role = replica; ${deletes}; ${restarts}; commit`);
  } finally {
    await client.end();
  }
}
