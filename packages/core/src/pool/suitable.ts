import type { Selectable, SelectQueryBuilder } from 'kysely';
import type { ResourceRow, Schema } from '../store/schema.ts';
import type { Store } from '../store/store.ts';
import type { CapacityRequest } from './reservations.ts';

/** What is read of a resource to choose among those that fit. */
const columns = [
  'resources.id',
  'resources.kind',
  'resources.name',
  'resources.group_id',
  'resources.labels',
  'resources.slots_total',
  'resources.slots_used',
  'resources.cpu_total',
  'resources.cpu_used',
  'resources.memory_mb_total',
  'resources.memory_mb_used',
  'resources.storage_gb_total',
  'resources.storage_gb_used',
  'offers.load',
] as const;

type Column = (typeof columns)[number] extends `${string}.${infer Name}` ? Name : never;

/** A resource that fits, as selection and policies see it. */
export type CandidateRow = Pick<Selectable<ResourceRow>, Column>;

type Query = SelectQueryBuilder<Schema, 'offers' | 'resources', CandidateRow>;

/** Resources that meet what does not depend on the moment: architecture, traits and size. */
export function suitable(db: Pick<Store['db'], 'selectFrom'>, request: CapacityRequest): Query {
  const { use, minimum, only, exclude = [] } = request;
  let query: Query = db
    .selectFrom('offers')
    .innerJoin('resources', 'resources.id', 'offers.resource_id')
    .select(columns)
    .where('offers.kind', '=', request.kind)
    .where('offers.architecture', '=', request.architecture)
    .where('slots_total', '>=', use.slots)
    .where('cpu_total', '>=', Math.max(use.cpu, minimum.cpu))
    .where('memory_mb_total', '>=', Math.max(use.memoryMb, minimum.memoryMb))
    .where('storage_gb_total', '>=', Math.max(use.storageGb, minimum.storageGb));
  for (const group of request.traits) {
    query = query.where((eb) =>
      eb.exists(
        eb
          .selectFrom('traits')
          .select('traits.trait')
          .whereRef('traits.resource_id', '=', 'offers.resource_id')
          .where(
            'traits.trait',
            'in',
            group.map(({ trait }) => trait),
          ),
      ),
    );
  }
  if (exclude.length > 0) query = query.where('offers.resource_id', 'not in', exclude);
  return only === undefined ? query : query.where('offers.resource_id', '=', only);
}

/** Those of them that have room now and are not held back for a request whose turn is before `rank`. */
export function available(db: Pick<Store['db'], 'selectFrom'>, request: CapacityRequest, rank: number): Query {
  const { use } = request;
  return suitable(db, request)
    .where('offers.open', '=', 1)
    .where((eb) => eb.or([eb('held_rank', 'is', null), eb('held_rank', '>=', rank)]))
    .where((eb) => eb(eb('slots_total', '-', eb.ref('slots_used')), '>=', use.slots))
    .where((eb) => eb(eb('cpu_total', '-', eb.ref('cpu_used')), '>=', use.cpu))
    .where((eb) => eb(eb('memory_mb_total', '-', eb.ref('memory_mb_used')), '>=', use.memoryMb))
    .where((eb) => eb(eb('storage_gb_total', '-', eb.ref('storage_gb_used')), '>=', use.storageGb));
}
