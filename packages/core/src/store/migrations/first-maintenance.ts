import type { Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';

/** Maintenance: found by what is due, and by resource. */
export async function maintenance(db: Kysely<unknown>, { int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('maintenance_windows')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('starts_at', int64, (c) => c.notNull())
    .addColumn('ends_at', int64)
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('maintenance_windows_by_state')
    .on('maintenance_windows')
    .columns(['state', 'starts_at'])
    .execute();
  await db.schema
    .createIndex('maintenance_windows_by_resource')
    .on('maintenance_windows')
    .columns(['resource_id', 'state'])
    .execute();
}
