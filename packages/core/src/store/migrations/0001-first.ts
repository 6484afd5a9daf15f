import { sql, type Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';
import { alerts, power } from './first-alerts.ts';
import { groups } from './first-groups.ts';
import { environments } from './first-environments.ts';
import { maintenance } from './first-maintenance.ts';
import { waiting } from './first-waiting.ts';
import { health } from './first-health.ts';
import { aboutResources } from '../conditions.ts';

/** The first schema: pool, durable work, logs, events, artifacts and the records of the four stages. */
export async function first(db: Kysely<unknown>, flavor: StoreFlavor): Promise<void> {
  await pool(db, flavor);
  await waiting(db, flavor);
  await work(db, flavor);
  await artifacts(db, flavor);
  await records(db, flavor);
  await environments(db, flavor);
  await alerts(db, flavor);
  await groups(db, flavor);
  await maintenance(db, flavor);
  await power(db, flavor);
  await health(db, flavor);
}

async function pool(db: Kysely<unknown>, flavor: StoreFlavor): Promise<void> {
  const { int64, float64, clustered, greatest } = flavor;
  const share = (what: string) => {
    const [used, total] = [sql.ref(`${what}_used`), sql.ref(`${what}_total`)];
    return sql<number>`coalesce(cast(${used} as double precision) / nullif(${total}, 0), 0.0)`;
  };
  const open = sql`status in ('online', 'degraded') and blocked is null and maintenance = 0 and slots_used < slots_total`;
  await db.schema
    .createTable('resources')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('status_reason', 'text')
    .addColumn('status_since', int64, (c) => c.notNull())
    .addColumn('blocked', 'text')
    .addColumn('architectures', 'text', (c) => c.notNull())
    .addColumn('group_id', 'text')
    .addColumn('utilization', 'text')
    .addColumn('health', 'text')
    .addColumn('good_deployment_id', 'text')
    .addColumn('firmware', 'text')
    .addColumn('maintenance', 'integer', (c) => c.notNull())
    .addColumn('registration', 'text', (c) => c.notNull())
    .addColumn('detected', 'text', (c) => c.notNull())
    .addColumn('profile', 'text', (c) => c.notNull())
    .addColumn('labels', 'text', (c) => c.notNull())
    .addColumn('slots_total', 'integer', (c) => c.notNull())
    .addColumn('slots_used', 'integer', (c) => c.notNull())
    .addColumn('cpu_total', 'integer', (c) => c.notNull())
    .addColumn('cpu_used', 'integer', (c) => c.notNull())
    .addColumn('memory_mb_total', int64, (c) => c.notNull())
    .addColumn('memory_mb_used', int64, (c) => c.notNull())
    .addColumn('storage_gb_total', float64, (c) => c.notNull())
    .addColumn('storage_gb_used', float64, (c) => c.notNull())
    .addColumn('open', 'integer', (c) => c.generatedAlwaysAs(sql`case when ${open} then 1 else 0 end`).stored())
    .addColumn('load', float64, (c) =>
      c.generatedAlwaysAs(greatest(['slots', 'cpu', 'memory_mb', 'storage_gb'].map(share))).stored(),
    )
    .addColumn('held_rank', int64)
    .addColumn('fence', int64, (c) => c.notNull())
    .addColumn('last_health_check', int64)
    .addColumn('created_at', int64, (c) => c.notNull())
    .addColumn('updated_at', int64, (c) => c.notNull())
    .addUniqueConstraint('resources_kind_name', ['kind', 'name'])
    .execute();

  await db.schema
    .createIndex('resources_by_load')
    .on('resources')
    .columns(['kind', 'architectures', 'open', 'load', 'id'])
    .execute();

  await db.schema
    .createTable('architecture_sets')
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('architectures', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('architecture_sets_key', ['architecture', 'architectures'])
    .$call(clustered)
    .execute();
  await db.schema
    .createIndex('architecture_sets_by_set')
    .on('architecture_sets')
    .columns(['architectures', 'architecture'])
    .execute();

  await db.schema
    .createTable('traits')
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addColumn('trait', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('traits_key', ['trait', 'resource_id'])
    .execute();
  await db.schema.createIndex('traits_by_resource').on('traits').column('resource_id').execute();

  await db.schema
    .createTable('reservations')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id'))
    .addColumn('holder', 'text', (c) => c.notNull())
    .addColumn('slots', 'integer', (c) => c.notNull())
    .addColumn('cpu', 'integer', (c) => c.notNull())
    .addColumn('memory_mb', int64, (c) => c.notNull())
    .addColumn('storage_gb', float64, (c) => c.notNull())
    .addColumn('fence', int64, (c) => c.notNull())
    .addColumn('expires_at', int64, (c) => c.notNull())
    .addColumn('lease_ms', int64, (c) => c.notNull())
    .addColumn('expected_end_at', int64)
    .addColumn('created_at', int64, (c) => c.notNull())
    .$call(clustered)
    .execute();
  await db.schema.createIndex('reservations_by_resource').on('reservations').column('resource_id').execute();
}

async function work(db: Kysely<unknown>, { name, int64, bytes }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('work_items')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('phase', 'text')
    .addColumn('input', 'text', (c) => c.notNull())
    .addColumn('checkpoint', 'text')
    .addColumn('output', 'text')
    .addColumn('error', 'text')
    .addColumn('parent_id', 'text', (c) => c.references('work_items.id').onDelete('cascade'))
    .addColumn('child_key', 'text')
    .addColumn('wake_on', 'text')
    .addColumn('priority', 'integer', (c) => c.notNull())
    .addColumn('run_after', int64, (c) => c.notNull())
    .addColumn('wait_ms', int64)
    .addColumn('deadline_at', int64)
    .addColumn('stop_reason', 'text')
    .addColumn('takeovers', 'integer', (c) => c.notNull())
    .addColumn('traceparent', 'text')
    .addColumn('owner', 'text')
    .addColumn('lease_until', int64)
    .addColumn('fence', int64, (c) => c.notNull())
    .addColumn('created_at', int64, (c) => c.notNull())
    .addColumn('started_at', int64)
    .addColumn('finished_at', int64)
    .addUniqueConstraint('work_items_child', ['parent_id', 'child_key'])
    .execute();
  await db.schema
    .createIndex('work_items_by_turn')
    .on('work_items')
    .columns(['state', 'priority desc', 'id'])
    .execute();
  await db.schema.createIndex('work_items_by_wake').on('work_items').columns(['wake_on', 'state']).execute();
  await db.schema.createIndex('work_items_by_kind').on('work_items').columns(['kind', 'id']).execute();

  await db.schema
    .createTable('events')
    // SQLite numbers on from the highest there is, and events stay: its AUTOINCREMENT would only be one page more to write.
    .addColumn('seq', name === 'sqlite' ? 'integer' : 'bigserial', (c) => c.primaryKey())
    .addColumn('at', int64, (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('subject', 'text', (c) => c.notNull())
    .addColumn('data', 'text', (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('events_of_resources')
    .on('events')
    .columns(['subject', 'seq'])
    .where(aboutResources)
    .execute();

  await db.schema
    .createTable('logs')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('size_bytes', int64, (c) => c.notNull())
    .addColumn('ended', 'integer', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('log_chunks')
    .addColumn('log_id', 'text', (c) => c.notNull().references('logs.id').onDelete('cascade'))
    .addColumn('start_byte', int64, (c) => c.notNull())
    .addColumn('bytes', bytes, (c) => c.notNull())
    .addPrimaryKeyConstraint('log_chunks_key', ['log_id', 'start_byte'])
    .execute();
}

async function artifacts(db: Kysely<unknown>, { int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('artifacts')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('producer_id', 'text', (c) => c.notNull())
    .addColumn('build_id', 'text')
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('filename', 'text', (c) => c.notNull())
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('size_bytes', int64, (c) => c.notNull())
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('metadata', 'text', (c) => c.notNull())
    .addColumn('created_at', int64, (c) => c.notNull())
    .addUniqueConstraint('artifacts_producer_file', ['producer_id', 'filename'])
    .execute();
  await db.schema.createIndex('artifacts_by_build').on('artifacts').column('build_id').execute();
  await db.schema.createIndex('artifacts_by_hash').on('artifacts').column('sha256').execute();

  await db.schema
    .createTable('blobs')
    .addColumn('sha256', 'text', (c) => c.primaryKey().notNull())
    .addColumn('size_bytes', int64, (c) => c.notNull())
    .addColumn('verified_at', int64, (c) => c.notNull())
    .addColumn('corrupted_at', int64)
    .addColumn('unused_since', int64)
    .addColumn('doomed_at', int64)
    .execute();
  await db.schema.createIndex('blobs_by_verification').on('blobs').column('verified_at').execute();
  await db.schema
    .createTable('blob_claims')
    .addColumn('sha256', 'text', (c) => c.notNull())
    .addColumn('holder', 'text', (c) => c.notNull())
    .addColumn('created_at', int64, (c) => c.notNull())
    .addPrimaryKeyConstraint('blob_claims_key', ['sha256', 'holder'])
    .execute();

  await db.schema
    .createTable('chores')
    .addColumn('name', 'text', (c) => c.primaryKey().notNull())
    .addColumn('due_at', int64, (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('facts')
    .addColumn('name', 'text', (c) => c.primaryKey().notNull())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('conditions')
    .addColumn('name', 'text', (c) => c.primaryKey().notNull())
    .addColumn('since', int64, (c) => c.notNull())
    .addColumn('details', 'text', (c) => c.notNull())
    .execute();
}

async function records(db: Kysely<unknown>, { int64, float64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('builds')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('repository', 'text', (c) => c.notNull())
    .addColumn('branch', 'text', (c) => c.notNull())
    .addColumn('wanted_commit', 'text')
    .addColumn('commit_hash', 'text')
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('config', 'text', (c) => c.notNull())
    .addColumn('server_id', 'text')
    .addColumn('wanted_server_id', 'text')
    .addColumn('succeeded_at', int64)
    .addColumn('resource_use', 'text')
    .addColumn('pinned', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('artifacts_removed_at', int64)
    .execute();
  await db.schema.createIndex('builds_by_commit').on('builds').columns(['commit_hash', 'architecture']).execute();
  await db.schema
    .createIndex('builds_by_branch')
    .on('builds')
    .columns(['branch', 'architecture', 'succeeded_at'])
    .execute();
  await db.schema
    .createTable('build_tags')
    .addColumn('build_id', 'text', (c) => c.notNull().references('builds.id').onDelete('cascade'))
    .addColumn('tag', 'text', (c) => c.notNull())
    .addColumn('created_at', int64, (c) => c.notNull())
    .addPrimaryKeyConstraint('build_tags_key', ['build_id', 'tag'])
    .execute();
  await db.schema.createIndex('build_tags_by_tag').on('build_tags').columns(['tag', 'build_id']).execute();

  await db.schema
    .createTable('build_times')
    .addColumn('repository', 'text', (c) => c.notNull())
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('server_id', 'text', (c) => c.notNull())
    .addColumn('mean_seconds', float64, (c) => c.notNull())
    .addColumn('builds', 'integer', (c) => c.notNull())
    .addColumn('updated_at', int64, (c) => c.notNull())
    .addPrimaryKeyConstraint('build_times_key', ['repository', 'architecture', 'server_id'])
    .execute();
  await db.schema
    .createTable('test_runs')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('deployment_id', 'text', (c) => c.notNull())
    .addColumn('results', 'text')
    .execute();
  await db.schema.createIndex('test_runs_by_deployment').on('test_runs').columns(['deployment_id', 'id']).execute();

  await db.schema
    .createTable('pipelines')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull().references('work_items.id').onDelete('cascade'))
    .addColumn('name', 'text')
    .addColumn('repository', 'text', (c) => c.notNull())
    .addColumn('branch', 'text', (c) => c.notNull())
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('environment_type', 'text', (c) => c.notNull())
    .execute();
}
