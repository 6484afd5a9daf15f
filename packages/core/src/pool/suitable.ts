import type { Kysely, QueryCreator, Selectable, SelectQueryBuilder } from 'kysely';
import { preparedFor, type Bind } from '../store/prepared.ts';
import type { ResourceRow, Schema } from '../store/schema.ts';
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
] as const;

type Column = (typeof columns)[number] extends `${string}.${infer Name}` ? Name : never;

/** A resource that fits, as selection and policies see it. */
export type CandidateRow = Pick<Selectable<ResourceRow>, Column>;

type Query = SelectQueryBuilder<Schema, 'offers' | 'resources', CandidateRow>;

/** Resources that meet what does not depend on the moment: architecture, traits and size. */
export function suitable(db: Pick<QueryCreator<Schema>, 'selectFrom'>, request: CapacityRequest): Query {
  const { use, minimum, only, exclude = [] } = request;
  let query: Query = db
    .selectFrom('offers')
    .innerJoin('resources', 'resources.id', 'offers.resource_id')
    .select(columns)
    .where('offers.kind', '=', request.kind)
    .where('offers.architecture', '=', request.architecture)
    .where('slots_total', '>=', use.slots)
    .where('cpu_total', '>=', use.cpu)
    .where('cpu_total', '>=', minimum.cpu)
    .where('memory_mb_total', '>=', use.memoryMb)
    .where('memory_mb_total', '>=', minimum.memoryMb)
    .where('storage_gb_total', '>=', use.storageGb)
    .where('storage_gb_total', '>=', minimum.storageGb);
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
export function available(db: Pick<QueryCreator<Schema>, 'selectFrom'>, request: CapacityRequest, rank: number): Query {
  const { use } = request;
  return suitable(db, request)
    .where('offers.open', '=', 1)
    .where((eb) => eb.or([eb('held_rank', 'is', null), eb('held_rank', '>=', rank)]))
    .where((eb) => eb(eb('slots_total', '-', eb.ref('slots_used')), '>=', use.slots))
    .where((eb) => eb(eb('cpu_total', '-', eb.ref('cpu_used')), '>=', use.cpu))
    .where((eb) => eb(eb('memory_mb_total', '-', eb.ref('memory_mb_used')), '>=', use.memoryMb))
    .where((eb) => eb(eb('storage_gb_total', '-', eb.ref('storage_gb_used')), '>=', use.storageGb));
}

/** A page of {@link availablePage}. */
export interface Page {
  readonly limit: number;
  /** How many to leave out. Default 0. */
  readonly skip?: number;
}

/** A page of those that are available, the least loaded first; equals in the order of their ids. */
export async function availablePage(
  db: Kysely<Schema>,
  request: CapacityRequest,
  rank: number,
  page: Page,
): Promise<CandidateRow[]> {
  const { kind, architecture, use, minimum, only, exclude = [] } = request;
  const traits = request.traits.map((group) => group.length);
  const { limit, skip = 0 } = page;
  return pageOf({ traits, exclude: exclude.length, only: only !== undefined, limit }).all(db, {
    kind,
    architecture,
    ...use,
    minCpu: minimum.cpu,
    minMemoryMb: minimum.memoryMb,
    minStorageGb: minimum.storageGb,
    traits: request.traits.flatMap((group) => group.map(({ trait }) => trait)),
    exclude,
    only: only ?? '',
    rank,
    skip,
  });
}

type Amounts = CapacityRequest['use'];

interface PageValues extends Pick<CapacityRequest, 'kind' | 'architecture'>, Amounts {
  readonly minCpu: number;
  readonly minMemoryMb: number;
  readonly minStorageGb: number;
  /** Of all groups, in their order. */
  readonly traits: readonly string[];
  readonly exclude: readonly string[];
  readonly only: string;
  readonly rank: number;
  readonly skip: number;
}

/** What the text of the query depends on. */
interface PageShape {
  /** How many traits each group has. */
  readonly traits: readonly number[];
  readonly exclude: number;
  readonly only: boolean;
  readonly limit: number;
}

const pageOf = preparedFor((db, p: Bind<PageValues>, shape: PageShape) => {
  let trait = 0;
  const bound: CapacityRequest = {
    kind: p('kind'),
    architecture: p('architecture'),
    use: { slots: p('slots'), cpu: p('cpu'), memoryMb: p('memoryMb'), storageGb: p('storageGb') },
    minimum: { cpu: p('minCpu'), memoryMb: p('minMemoryMb'), storageGb: p('minStorageGb') },
    traits: shape.traits.map((size) =>
      Array.from({ length: size }, () => ({ trait: p('traits', trait++), requirement: '', wanted: '' })),
    ),
    exclude: Array.from({ length: shape.exclude }, (_, index) => p('exclude', index)),
    ...(shape.only && { only: p('only') }),
  };
  return available(db, bound, p('rank'))
    .orderBy('offers.load')
    .orderBy('offers.resource_id')
    .limit(shape.limit)
    .offset(p('skip'));
});
