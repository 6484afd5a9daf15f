import type { Selectable } from 'kysely';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { isFinal, type WorkState } from '../model/work.ts';
import { prepared, preparedFor, type Bind } from '../store/prepared.ts';
import type { WaitingRow, WaitingShapeRow } from '../store/schema/waiting.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { wake } from '../work/queue.ts';
import type { AdmissionCandidate, Admissions } from './admission.ts';
import type { CapacityRequest } from './reservations.ts';
import { sharersOfLimits } from './membership.ts';
import { endWaiting } from './waiting-records.ts';

/** What work that waits for capacity is woken by. */
export function grantTopic(workId: string): string {
  return `grant:${workId}`;
}

/** A resource that may have room. */
type Offered = AdmissionCandidate & { readonly held_rank: number | null };

type Shape = Pick<Selectable<WaitingShapeRow>, 'request' | 'first_rank' | 'first_seq'> & { readonly shape: string };

/** What came of looking at one shape: things have changed, the next may be looked at, or nobody else may have it. */
type Look = 'again' | 'next' | 'stop';

/**
 * Gives capacity to those who wait for it. Whenever a resource may have got room, its requests are
 * looked at before the transaction that gave it room commits: so at every moment nobody waits for
 * what is free, and who comes later can't be quicker.
 *
 * Cost: one small query when nobody waits, two more when nobody waits for such a resource, and a few for each grant.
 * What is walked is the shapes of the requests, so ten thousand that ask for the same are one.
 */
export class WaitingList {
  readonly #clock: Clock;
  readonly #admissions: Admissions;

  constructor(store: Store, clock: Clock, admissions: Admissions) {
    this.#clock = clock;
    this.#admissions = admissions;
    store.onBeforeCommit('capacity', async (tx, resourceIds) => {
      if ((await anyShape.first(tx.db, {})) === undefined) return;
      const ids = new Set(resourceIds);
      for (const id of resourceIds) for (const sharer of await sharersOfLimits(tx, id)) ids.add(sharer);
      for (const id of ids) await this.offer(tx, id);
    });
  }

  /**
   * Grants what a resource has free to those who wait, in their order; with `beforeRank` only to
   * those whose turn is not after it.
   */
  async offer(tx: StoreTransaction, resourceId: string, beforeRank: number = Number.MAX_SAFE_INTEGER): Promise<void> {
    let after: Pick<Shape, 'first_rank' | 'first_seq'> | undefined;
    for (let looked = 0; looked < limits.waitingShapesPerOffer;) {
      const shapes = await this.#shapes(tx, resourceId, beforeRank, after);
      const [first] = shapes;
      if (first === undefined) return;
      const traits = await this.#traits(tx, shapes, resourceId);
      let again = false;
      for (const shape of shapes) {
        const look = await this.#look(tx, shape, first, traits);
        if (look === 'stop') return;
        again = look === 'again';
        if (again) break;
      }
      looked += shapes.length;
      // After a grant the resource has other numbers, and the shape another first request.
      after = again ? undefined : shapes.at(-1);
    }
  }

  /** A page of the shapes that the resource suits, with the resource, by the turn of their first requests. */
  async #shapes(
    { db }: StoreTransaction,
    resourceId: string,
    beforeRank: number,
    after: Pick<Shape, 'first_rank' | 'first_seq'> | undefined,
  ): Promise<(Offered & Shape)[]> {
    return shapesFor({ further: after !== undefined }).all(db, {
      resourceId,
      beforeRank,
      rank: after?.first_rank ?? 0,
      seq: after?.first_seq ?? 0,
    });
  }

  async #traits({ db }: StoreTransaction, shapes: readonly Shape[], resourceId: string): Promise<ReadonlySet<string>> {
    if (!shapes.some(({ request }) => parse(request).traits.length > 0)) return new Set();
    const rows = await traitsOf.all(db, { resourceId });
    return new Set(rows.map(({ trait }) => trait));
  }

  async #look(tx: StoreTransaction, shape: Shape, resource: Offered, traits: ReadonlySet<string>): Promise<Look> {
    if (resource.held_rank !== null && shape.first_rank > resource.held_rank) return 'stop';
    const request = parse(shape.request);
    if (request.exclude?.includes(resource.id) === true) return 'next';
    if (!request.traits.every((group) => group.some(({ trait }) => traits.has(trait)))) return 'next';
    const head = await this.#head(tx, shape.shape);
    if (head === 'dropped') return 'again';
    if (!hasRoom(resource, request)) return this.#holdBack(tx, request, head, resource);
    const { granted, refused } = await this.#admissions.grant(tx, request, resource, {
      id: head.id,
      holder: head.holder,
      now: this.#clock.now(),
      rank: head.rank,
      ...(head.expected_ms !== null && { expectedMs: head.expected_ms }),
    });
    if (granted === undefined) {
      if (refused === undefined || head.held_id !== resource.id) return 'next';
      await letGo(tx, resource.id);
      return 'again';
    }
    // Work is run again and finds its grant there; whoever waits otherwise looks for the reservation of its id.
    await endWaiting(tx, head, head.waiter === null ? 'collected' : 'granted');
    if (head.waiter !== null) await wake(tx, grantTopic(head.waiter));
    tx.wake('grants');
    return 'again';
  }

  /** The first request of a shape; one that nobody waits for any more is dropped. */
  async #head(tx: StoreTransaction, shape: string): Promise<Selectable<WaitingRow> | 'dropped'> {
    const head = await headOf.first(tx.db, { shape });
    if (head === undefined) throw new TypeError(`nobody waits for what shape ${shape} stands for`);
    if (!(await isWanted(tx, head, this.#clock.now()))) {
      await endWaiting(tx, head, 'withdrawn');
      return 'dropped';
    }
    return head;
  }

  /**
   * Smaller requests may go first where a big one doesn't fit yet, but not for ever: from a certain age
   * on, one resource that could fit it is kept from all whose turn is later, until it does.
   */
  async #holdBack(
    tx: StoreTransaction,
    request: CapacityRequest,
    head: Selectable<WaitingRow>,
    resource: Offered,
  ): Promise<Look> {
    if (this.#clock.now() - head.enqueued_at < limits.waitingHoldBackMs) return 'next';
    if (head.held_id === resource.id) return 'stop';
    if (head.held_id !== null && (await isInService(tx, head.held_id))) return 'next';
    if ((await this.#admissions.refusal(tx, request, resource)) !== undefined) return 'next';
    if (head.held_id !== null) await letGo(tx, head.held_id);
    await letGo(tx, resource.id);
    await tx.db.updateTable('waiting').set({ held_id: resource.id }).where('id', '=', head.id).execute();
    await tx.db.updateTable('resources').set({ held_rank: head.rank }).where('id', '=', resource.id).execute();
    return 'stop';
  }
}

function parse(request: string): CapacityRequest {
  return JSON.parse(request) as CapacityRequest;
}

function hasRoom(resource: Offered, { use }: CapacityRequest): boolean {
  return (
    resource.slots_total - resource.slots_used >= use.slots &&
    resource.cpu_total - resource.cpu_used >= use.cpu &&
    resource.memory_mb_total - resource.memory_mb_used >= use.memoryMb &&
    resource.storage_gb_total - resource.storage_gb_used >= use.storageGb
  );
}

async function isWanted({ db }: StoreTransaction, row: Selectable<WaitingRow>, now: number): Promise<boolean> {
  if (row.deadline_at !== null && row.deadline_at <= now) return false;
  if (row.waiter === null) return true;
  const work = await db.selectFrom('work_items').select('state').where('id', '=', row.waiter).executeTakeFirst();
  return work !== undefined && !isFinal(work.state as WorkState);
}

async function isInService({ db }: StoreTransaction, resourceId: string): Promise<boolean> {
  const row = await db
    .selectFrom('resources')
    .select('id')
    .where('id', '=', resourceId)
    .where('status', 'in', ['online', 'degraded'])
    .where('blocked', 'is', null)
    .where('maintenance', '=', 0)
    .executeTakeFirst();
  return row !== undefined;
}

/** Holds a resource back for nobody. */
async function letGo({ db }: StoreTransaction, resourceId: string): Promise<void> {
  await db.updateTable('waiting').set({ held_id: null }).where('held_id', '=', resourceId).execute();
  await db.updateTable('resources').set({ held_rank: null }).where('id', '=', resourceId).execute();
}

const headOf = prepared((db, p: Bind<{ shape: string }>) =>
  db
    .selectFrom('waiting')
    .selectAll()
    .where('shape', '=', p('shape'))
    .where('state', '=', 'waiting')
    .orderBy('rank')
    .orderBy('seq')
    .limit(1),
);

const traitsOf = prepared((db, p: Bind<{ resourceId: string }>) =>
  db.selectFrom('traits').select('trait').where('resource_id', '=', p('resourceId')),
);

/** Whether anybody waits for anything: what most releases need to know. */
const anyShape = prepared((db) => db.selectFrom('waiting_shapes').select('id').limit(1));

interface ShapesValues {
  readonly resourceId: string;
  readonly beforeRank: number;
  readonly rank: number;
  readonly seq: number;
}

/** The shapes that a resource suits; `further`: after the given turn. Every release asks for them. */
const shapesFor = preparedFor((db, p: Bind<ShapesValues>, { further }: { readonly further: boolean }) =>
  db
    .selectFrom('resources as r')
    .innerJoin('waiting_shapes as s', (join) =>
      join
        .onRef('s.kind', '=', 'r.kind')
        .on('s.architecture', 'in', (eb) =>
          eb
            .selectFrom('architecture_sets as a')
            .select('a.architecture')
            .whereRef('a.architectures', '=', 'r.architectures'),
        ),
    )
    .select([
      ...(['r.id', 'r.kind', 'r.name', 'r.group_id', 'r.labels', 'r.load', 'r.held_rank', 'r.slots_total'] as const),
      ...(['r.slots_used', 'r.cpu_total', 'r.cpu_used', 'r.memory_mb_total', 'r.memory_mb_used'] as const),
      ...(['r.storage_gb_total', 'r.storage_gb_used'] as const),
      ...(['s.id as shape', 's.request', 's.first_rank', 's.first_seq'] as const),
    ])
    .where('r.id', '=', p('resourceId'))
    .where('r.open', '=', 1)
    .where('s.only_id', 'in', ['', p('resourceId')])
    .where('s.first_rank', '<=', p('beforeRank'))
    .where((eb) =>
      eb.or([
        eb('s.trait', '=', ''),
        eb.exists(
          eb
            .selectFrom('traits')
            .select('traits.trait')
            .whereRef('traits.resource_id', '=', 'r.id')
            .whereRef('traits.trait', '=', 's.trait'),
        ),
      ]),
    )
    .whereRef('s.slots', '<=', 'r.slots_total')
    .whereRef('s.cpu', '<=', 'r.cpu_total')
    .whereRef('s.memory_mb', '<=', 'r.memory_mb_total')
    .whereRef('s.storage_gb', '<=', 'r.storage_gb_total')
    .$if(further, (query) =>
      query.where((eb) =>
        eb.or([
          eb('s.first_rank', '>', p('rank')),
          eb.and([eb('s.first_rank', '=', p('rank')), eb('s.first_seq', '>', p('seq'))]),
        ]),
      ),
    )
    .orderBy('s.first_rank')
    .orderBy('s.first_seq')
    .limit(limits.waitingShapesPage),
);
