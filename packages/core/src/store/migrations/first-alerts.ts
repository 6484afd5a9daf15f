import type { Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';

/** Alerts: found by what is still open of a subject, listed newest first. */
export async function alerts(db: Kysely<unknown>, { int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('alerts')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('severity', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('message', 'text', (c) => c.notNull())
    .addColumn('details', 'text', (c) => c.notNull())
    .addColumn('count', 'integer', (c) => c.notNull())
    .addColumn('raised_at', int64, (c) => c.notNull())
    .addColumn('last_seen_at', int64, (c) => c.notNull())
    .addColumn('acknowledged_at', int64)
    .addColumn('acknowledged_by', 'text')
    .addColumn('resolved_at', int64)
    .addColumn('resolution', 'text')
    .execute();
  await db.schema.createIndex('alerts_by_subject').on('alerts').columns(['subject', 'type', 'resolved_at']).execute();
  await db.schema.createIndex('alerts_by_state').on('alerts').columns(['state', 'id']).execute();
}
