import type { Kysely } from 'kysely';
import type { StoreFlavor } from '../flavor.ts';

/** Groups of resources, who is in them, what was approved, and what their policies decided. */
export async function groups(db: Kysely<unknown>, { name, int64 }: StoreFlavor): Promise<void> {
  await db.schema
    .createTable('groups')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('name', 'text', (c) => c.notNull().unique())
    .addColumn('description', 'text')
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('labels', 'text', (c) => c.notNull())
    .addColumn('listed', 'text', (c) => c.notNull())
    .addColumn('policy', 'text', (c) => c.notNull())
    .addColumn('priority', 'integer', (c) => c.notNull())
    .addColumn('turn', int64, (c) => c.notNull())
    .addColumn('created_at', int64, (c) => c.notNull())
    .addColumn('updated_at', int64, (c) => c.notNull())
    .execute();
  await db.schema
    .createTable('group_members')
    .addColumn('group_id', 'text', (c) => c.notNull().references('groups.id').onDelete('cascade'))
    .addColumn('resource_id', 'text', (c) => c.notNull().references('resources.id').onDelete('cascade'))
    .addPrimaryKeyConstraint('group_members_key', ['group_id', 'resource_id'])
    .execute();
  await db.schema.createIndex('group_members_by_resource').on('group_members').column('resource_id').execute();
  await db.schema
    .createTable('group_approvals')
    .addColumn('id', 'text', (c) => c.primaryKey().notNull())
    .addColumn('group_id', 'text', (c) => c.notNull().references('groups.id').onDelete('cascade'))
    .addColumn('requester', 'text', (c) => c.notNull())
    .addColumn('team', 'text')
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('requested_at', int64, (c) => c.notNull())
    .addColumn('expires_at', int64, (c) => c.notNull())
    .addColumn('decided_at', int64)
    .addColumn('decided_by', 'text')
    .addColumn('reason', 'text')
    .execute();
  await db.schema
    .createIndex('group_approvals_by_requester')
    .on('group_approvals')
    .columns(['group_id', 'requester', 'expires_at'])
    .execute();
  await db.schema
    .createTable('policy_decisions')
    .addColumn('seq', name === 'sqlite' ? 'integer' : 'bigserial', (c) =>
      name === 'sqlite' ? c.primaryKey().autoIncrement() : c.primaryKey(),
    )
    .addColumn('at', int64, (c) => c.notNull())
    .addColumn('group_id', 'text', (c) => c.notNull())
    .addColumn('policy', 'text', (c) => c.notNull())
    .addColumn('resource_id', 'text', (c) => c.notNull())
    .addColumn('requester', 'text')
    .addColumn('team', 'text')
    .addColumn('allowed', 'integer', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .execute();
  await db.schema
    .createIndex('policy_decisions_by_group')
    .on('policy_decisions')
    .columns(['group_id', 'seq'])
    .execute();
}
