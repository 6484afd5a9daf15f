import type { Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';

/** Requests that wait for capacity, and what they ask for. */
export async function waiting(db: Kysely<unknown>, { name, int64, float64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('waiting')
    .addColumn('seq', name === 'sqlite' ? 'integer' : 'bigserial', (c) =>
      name === 'sqlite' ? c.primaryKey().autoIncrement() : c.primaryKey(),
    )
    .addColumn('id', 'text', (c) => c.notNull().unique())
    .addColumn('shape', 'text', (c) => c.notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('holder', 'text', (c) => c.notNull())
    .addColumn('waiter', 'text')
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('priority', 'integer', (c) => c.notNull())
    .addColumn('rank', int64, (c) => c.notNull())
    .addColumn('preferred', 'text')
    .addColumn('expected_ms', int64)
    .addColumn('enqueued_at', int64, (c) => c.notNull())
    .addColumn('deadline_at', int64)
    .addColumn('held_id', 'text')
    .execute();
  await db.schema.createIndex('waiting_by_shape').on('waiting').columns(['shape', 'state', 'rank', 'seq']).execute();
  await db.schema
    .createIndex('waiting_by_turn')
    .on('waiting')
    .columns(['kind', 'architecture', 'state', 'rank', 'seq'])
    .execute();
  await db.schema.createIndex('waiting_by_waiter').on('waiting').column('waiter').execute();
  await db.schema.createIndex('waiting_by_hold').on('waiting').column('held_id').execute();
  await db.schema.createIndex('waiting_by_deadline').on('waiting').columns(['state', 'deadline_at']).execute();

  await db.schema
    .createTable('waiting_shapes')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('architecture', 'text', (c) => c.notNull())
    .addColumn('only_id', 'text', (c) => c.notNull())
    .addColumn('trait', 'text', (c) => c.notNull())
    .addColumn('slots', 'integer', (c) => c.notNull())
    .addColumn('cpu', 'integer', (c) => c.notNull())
    .addColumn('memory_mb', int64, (c) => c.notNull())
    .addColumn('storage_gb', float64, (c) => c.notNull())
    .addColumn('request', 'text', (c) => c.notNull())
    .addColumn('waiting', 'integer', (c) => c.notNull())
    .addColumn('first_rank', int64, (c) => c.notNull())
    .addColumn('first_seq', int64, (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('waiting_shapes_by_turn')
    .on('waiting_shapes')
    .columns(['kind', 'architecture', 'only_id', 'first_rank', 'first_seq'])
    .execute();
}
