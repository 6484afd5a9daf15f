import { sql, type Kysely } from 'kysely';
import { Migrator, type MigrationProvider } from 'kysely/migration';
import { BringupError } from '../errors.ts';
import type { StoreFlavor } from './flavor.ts';
import type { OpenedDatabase } from './provider.ts';
import { first } from './migrations/0001-first.ts';
import type { Schema } from './schema.ts';

/** All migrations, in order. A migration that was released is never changed again. */
const steps: Readonly<Record<string, (db: Kysely<unknown>, flavor: StoreFlavor) => Promise<void>>> = {
  '0001-first': first,
};

/** Brings the schema up to date. Safe when several processes do it at once. @throws `store-failed`. */
export async function migrate(
  db: Kysely<Schema>,
  { flavor, schema }: Pick<OpenedDatabase, 'flavor' | 'schema'>,
): Promise<void> {
  if (await isUpToDate(db)) return;
  const provider: MigrationProvider = {
    async getMigrations() {
      return Object.fromEntries(
        Object.entries(steps).map(([name, up]) => [name, { up: (inner: Kysely<unknown>) => up(inner, flavor) }]),
      );
    },
  };
  const { error } = await new Migrator({
    db,
    provider,
    ...(schema !== undefined && { migrationTableSchema: schema }),
  }).migrateToLatest();
  if (error !== undefined) {
    throw new BringupError(
      'store-failed',
      'the database could not be brought to the current schema; it may belong to a newer version of bringup',
      { cause: error },
    );
  }
}

/** A look at what was done costs a tenth of asking the engine for all its tables, as the migrator does. */
async function isUpToDate(db: Kysely<Schema>): Promise<boolean> {
  try {
    const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name`.execute(db);
    return rows.map(({ name }) => name).join() === Object.keys(steps).toSorted().join();
  } catch {
    // A new database.
    return false;
  }
}
