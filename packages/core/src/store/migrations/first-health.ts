import type { Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';

/** What health monitoring keeps beside the resources' own rows. */
export async function health(db: Kysely<unknown>, { int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('health_history')
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('resolution', 'text', (c) => c.notNull())
    .addColumn('at', int64, (c) => c.notNull())
    .addColumn('sample', 'text', (c) => c.notNull())
    .addColumn('looks', 'text')
    .addPrimaryKeyConstraint('health_history_key', ['resource_id', 'resolution', 'at'])
    .execute();

  await db.schema
    .createTable('health_thresholds')
    .addColumn('scope', 'text', (c) => c.notNull())
    .addColumn('scope_id', 'text', (c) => c.notNull())
    .addColumn('thresholds', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('health_thresholds_key', ['scope', 'scope_id'])
    .execute();

  await db.schema
    .createTable('monitor_leases')
    .addColumn('shard', 'integer', (c) => c.primaryKey().notNull())
    .addColumn('owner', 'text', (c) => c.notNull())
    .addColumn('lease_until', int64, (c) => c.notNull())
    .execute();

  await db.schema
    .createTable('monitors')
    .addColumn('owner', 'text', (c) => c.primaryKey().notNull())
    .addColumn('lease_until', int64, (c) => c.notNull())
    .execute();
}
