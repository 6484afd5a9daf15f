import type { Selectable } from 'kysely';
import { limits } from '../limits.ts';
import { prepared, type Bind, type PreparedQuery } from '../store/prepared.ts';
import type { ResourceRow } from '../store/schema/pool.ts';

/** What is read of every resource again and again. */
export type ScannedRow = Pick<
  Selectable<ResourceRow>,
  'id' | 'status' | 'updated_at' | 'group_id' | 'maintenance' | 'slots_used' | 'blocked'
>;

/** The next {@link limits.pageSize} resources, by id. */
export const pageAfter: PreparedQuery<{ after: string }, ScannedRow> = prepared((db, p: Bind<{ after: string }>) =>
  db
    .selectFrom('resources')
    .select(['id', 'status', 'updated_at', 'group_id', 'maintenance', 'slots_used', 'blocked'])
    .where('id', '>', p('after'))
    .orderBy('id')
    .limit(limits.pageSize),
);
