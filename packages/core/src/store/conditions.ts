import { sql, type RawBuilder } from 'kysely';

/**
 * Events that are about a resource: the only ones that are looked up by their subject, and so the only ones in that
 * index. A query that is to use it must have these very words.
 */
export const aboutResources: RawBuilder<boolean> = sql<boolean>`name like 'resource:%'`;
