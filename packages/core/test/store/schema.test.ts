import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { sql } from 'kysely';
import { fakeClock } from '@bringup/core/testing';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

const schemaFile = new URL('../../src/store/schema.sql', import.meta.url);

describe('the store', () => {
  it('of a fresh database has the schema of schema.sql (UPDATE_SCHEMA=1 rewrites the file)', async () => {
    await using store = await Store.open(sqlite(), fakeClock());
    const { rows } = await sql<{ sql: string }>`
      select sql from sqlite_master where sql is not null and name not like 'sqlite_%' and name not like 'kysely_%' order by type desc, name
    `.execute(store.db);
    const dump = rows
      .map(
        (row) =>
          `${row.sql
            .replaceAll('"', '')
            .replace('(', '(\n  ')
            .replaceAll(/, (?=[a-z_0-9]+ (?:text|integer|real|blob)|constraint|unique|primary)/g, ',\n  ')};\n`,
      )
      .join('\n');
    if (process.env['UPDATE_SCHEMA'] !== undefined) await writeFile(schemaFile, dump);
    expect(dump).toBe(await readFile(schemaFile, 'utf8'));
  });
});
