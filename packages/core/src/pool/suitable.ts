import type { Kysely, QueryCreator, Selectable, SelectQueryBuilder } from 'kysely';
import { prepared, preparedFor, type Bind } from '../store/prepared.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Schema } from '../store/schema.ts';
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
  'resources.load',
] as const;

type Column = (typeof columns)[number] extends `${string}.${infer Name}` ? Name : never;

/** A resource that fits, as selection and policies see it. */
export type CandidateRow = Pick<Selectable<ResourceRow>, Column>;

type Query = SelectQueryBuilder<Schema, 'resources', CandidateRow>;

/**
 * Resources that meet what does not depend on the moment: architecture, traits and size. With `set` only those with
 * exactly these architectures, which is what can be read in the order of load, see {@link leastLoaded}.
 */
export function suitable(db: Pick<QueryCreator<Schema>, 'selectFrom'>, request: CapacityRequest, set?: string): Query {
  const { use, minimum, only, exclude = [] } = request;
  let query: Query = db
    .selectFrom('resources')
    .select(columns)
    .where('resources.kind', '=', request.kind)
    .where((eb) =>
      set === undefined
        ? eb('resources.architectures', 'in', setsWith(db, request.architecture))
        : eb('resources.architectures', '=', set),
    )
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
          .whereRef('traits.resource_id', '=', 'resources.id')
          .where(
            'traits.trait',
            'in',
            group.map(({ trait }) => trait),
          ),
      ),
    );
  }
  if (exclude.length > 0) query = query.where('resources.id', 'not in', exclude);
  return only === undefined ? query : query.where('resources.id', '=', only);
}

/** Those of them that have room now and are not held back for a request whose turn is before `rank`. */
export function available(
  db: Pick<QueryCreator<Schema>, 'selectFrom'>,
  request: CapacityRequest,
  rank: number,
  set?: string,
): Query {
  const { use } = request;
  return suitable(db, request, set)
    .where('resources.open', '=', 1)
    .where((eb) => eb.or([eb('held_rank', 'is', null), eb('held_rank', '>=', rank)]))
    .where((eb) => eb(eb('slots_total', '-', eb.ref('slots_used')), '>=', use.slots))
    .where((eb) => eb(eb('cpu_total', '-', eb.ref('cpu_used')), '>=', use.cpu))
    .where((eb) => eb(eb('memory_mb_total', '-', eb.ref('memory_mb_used')), '>=', use.memoryMb))
    .where((eb) => eb(eb('storage_gb_total', '-', eb.ref('storage_gb_used')), '>=', use.storageGb));
}

function setsWith(db: Pick<QueryCreator<Schema>, 'selectFrom'>, architecture: string) {
  return db
    .selectFrom('architecture_sets')
    .select('architecture_sets.architectures')
    .where('architecture_sets.architecture', '=', architecture);
}

const setsOf = prepared((db, p: Bind<{ architecture: string }>) => setsWith(db, p('architecture')));

/** Where a resource is in the order of load. */
export type Load = Pick<CandidateRow, 'id' | 'load'>;

/**
 * The least loaded resources that serve an architecture, equals in the order of their ids. `ofSet` gives the first
 * `limit` of those with exactly the given architectures: only these lie in the index in that order.
 */
export async function leastLoaded<R extends Load>(
  db: Kysely<Schema>,
  architecture: string,
  limit: number,
  ofSet: (set: string) => Promise<R[]>,
): Promise<R[]> {
  const pages: R[][] = [];
  for (const { architectures } of await setsOf.all(db, { architecture })) pages.push(await ofSet(architectures));
  const [only] = pages;
  if (only !== undefined && pages.length === 1) return only;
  return pages
    .flat()
    .sort((a, b) => a.load - b.load || (a.id < b.id ? -1 : 1))
    .slice(0, limit);
}

/** What a resource serves. */
export function architecturesOf({
  architectures,
}: Pick<Selectable<ResourceRow>, 'architectures'>): ReadonlySet<string> {
  return new Set(architectures === '' ? [] : architectures.split(','));
}

/** A page of {@link availablePage}. */
export interface Page {
  readonly limit: number;
  /** The last of the page before. */
  readonly after?: Load | undefined;
}

const beforeAll: Load = { load: -1, id: '' };

/** A page of those that are available, the least loaded first; equals in the order of their ids. */
export async function availablePage(
  db: Kysely<Schema>,
  request: CapacityRequest,
  rank: number,
  page: Page,
): Promise<CandidateRow[]> {
  const { kind, architecture, use, minimum, only, exclude = [] } = request;
  const traits = request.traits.map((group) => group.length);
  const { limit, after = beforeAll } = page;
  const query = pageOf({ traits, exclude: exclude.length, only: only !== undefined, limit });
  const values = {
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
    afterLoad: after.load,
    afterId: after.id,
  };
  return leastLoaded(db, architecture, limit, (set) => query.all(db, { ...values, set }));
}

type Amounts = CapacityRequest['use'];

interface PageValues extends Pick<CapacityRequest, 'kind' | 'architecture'>, Amounts {
  readonly set: string;
  readonly minCpu: number;
  readonly minMemoryMb: number;
  readonly minStorageGb: number;
  /** Of all groups, in their order. */
  readonly traits: readonly string[];
  readonly exclude: readonly string[];
  readonly only: string;
  readonly rank: number;
  readonly afterLoad: number;
  readonly afterId: string;
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
  return available(db, bound, p('rank'), p('set'))
    .where((eb) => eb(eb.refTuple('resources.load', 'resources.id'), '>', eb.tuple(p('afterLoad'), p('afterId'))))
    .orderBy('resources.load')
    .orderBy('resources.id')
    .limit(shape.limit);
});
