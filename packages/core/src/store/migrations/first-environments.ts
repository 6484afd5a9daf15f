import type { Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';

/** Environments, what is deployed into them, and what boards are flashed with. */
export async function environments(db: Kysely<unknown>, { int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('environments')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('owner', 'text')
    .addColumn('team', 'text')
    .addColumn('target_type', 'text', (c) => c.notNull())
    .addColumn('target_id', 'text')
    .addColumn('reservation_id', 'text')
    .addColumn('deployment_id', 'text', (c) => c.notNull())
    .addColumn('keep_ms', int64, (c) => c.notNull())
    .addColumn('expires_at', int64)
    .addColumn('released_at', int64)
    .addColumn('created_at', int64, (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('environments_by_target')
    .on('environments')
    .columns(['target_id', 'released_at'])
    .execute();
  await db.schema.createIndex('environments_by_reservation').on('environments').column('reservation_id').execute();

  await db.schema
    .createTable('deployments')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('environment_id', 'text', (c) => c.notNull())
    .addColumn('target_type', 'text', (c) => c.notNull())
    .addColumn('target_id', 'text')
    .addColumn('architecture', 'text')
    .addColumn('build_id', 'text')
    .addColumn('commit_hash', 'text')
    .addColumn('line', 'text')
    .addColumn('artifact_ids', 'text', (c) => c.notNull())
    .addColumn('vm', 'text')
    .addColumn('boot_id', 'text')
    .addColumn('boot_verified', 'integer', (c) => c.notNull())
    .addColumn('boot', 'text')
    .addColumn('verification', 'text')
    .addColumn('rolled_back_by', 'text')
    .execute();
  await db.schema.createIndex('deployments_by_target').on('deployments').columns(['target_id', 'id']).execute();
  await db.schema
    .createIndex('deployments_by_line')
    .on('deployments')
    .columns(['line', 'architecture', 'boot_verified', 'id'])
    .execute();
  await db.schema
    .createIndex('deployments_by_environment')
    .on('deployments')
    .columns(['environment_id', 'id'])
    .execute();

  await db.schema
    .createTable('flashes')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('board_id', 'text', (c) => c.notNull())
    .addColumn('deployment_id', 'text')
    .addColumn('build_id', 'text')
    .addColumn('commit_hash', 'text')
    .addColumn('firmware_version', 'text', (c) => c.notNull())
    .addColumn('parts', 'text', (c) => c.notNull())
    .addColumn('receipts', 'text', (c) => c.notNull())
    .addColumn('attempts', 'integer', (c) => c.notNull())
    .addColumn('transferred_bytes', int64, (c) => c.notNull())
    .execute();
  await db.schema.createIndex('flashes_by_board').on('flashes').columns(['board_id', 'id']).execute();
}
