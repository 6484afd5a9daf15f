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
    .addColumn('resolved_by', 'text')
    .addColumn('flaps', 'integer', (c) => c.notNull())
    .addColumn('told', 'text')
    .addColumn('told_severity', 'text')
    .addColumn('told_count', 'integer', (c) => c.notNull())
    .addColumn('spread_count', 'integer', (c) => c.notNull())
    .addColumn('settle_at', int64)
    .execute();
  await db.schema.createIndex('alerts_by_subject').on('alerts').columns(['subject', 'type', 'resolved_at']).execute();
  await db.schema.createIndex('alerts_by_state').on('alerts').columns(['state', 'id']).execute();

  await db.schema
    .createTable('deliveries')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('alert_id', 'text', (c) => c.notNull().references('alerts.id').onDelete('cascade'))
    .addColumn('notifier', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('turn', 'integer', (c) => c.notNull())
    .execute();
  await db.schema.createIndex('deliveries_by_alert').on('deliveries').columns(['alert_id', 'turn']).execute();
}

/** What was done to the power of boards. */
export async function power(db: Kysely<unknown>, { int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('power_events')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('board_id', 'text', (c) => c.notNull())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('trigger_kind', 'text', (c) => c.notNull())
    .addColumn('requested_by', 'text', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('cycles', 'integer', (c) => c.notNull())
    .addColumn('off_at', int64)
    .addColumn('on_at', int64)
    .addColumn('answered_at', int64)
    .execute();
  await db.schema.createIndex('power_events_by_board').on('power_events').columns(['board_id', 'id']).execute();
}
