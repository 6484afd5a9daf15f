import type { Kysely } from 'kysely';
import { Migrator, type MigrationProvider } from 'kysely/migration';
import { BringupError } from '../errors.ts';
import type { StoreFlavor } from './flavor.ts';
import { first } from './migrations/0001-first.ts';
import type { Schema } from './schema.ts';

/** All migrations, in order. A migration that was released is never changed again. */
const steps: Readonly<Record<string, (db: Kysely<unknown>, flavor: StoreFlavor) => Promise<void>>> = {
  '0001-first': first,
};

/** Brings the schema up to date. Safe when several processes do it at once. @throws `store-failed`. */
export async function migrate(db: Kysely<Schema>, flavor: StoreFlavor): Promise<void> {
  const provider: MigrationProvider = {
    async getMigrations() {
      return Object.fromEntries(
        Object.entries(steps).map(([name, up]) => [name, { up: (inner: Kysely<unknown>) => up(inner, flavor) }]),
      );
    },
  };
  const { error } = await new Migrator({ db, provider }).migrateToLatest();
  if (error !== undefined) {
    throw new BringupError(
      'store-failed',
      'the database could not be brought to the current schema; it may belong to a newer version of bringup',
      { cause: error },
    );
  }
}
