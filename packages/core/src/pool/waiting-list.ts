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
import { endWaiting, type Place } from './waiting-records.ts';

/** What work that waits for capacity is woken by. */
export function grantTopic(workId: string): string {
  return `grant:${workId}`;
}

/** A resource that may have room. */
type Offered = AdmissionCandidate & { readonly held_rank: number | null };

/** The first of those who ask for the same. */
type Head = Place & Pick<Selectable<WaitingRow>, 'rank' | 'waiter' | 'expected_ms' | 'enqueued_at' | 'deadline_at'>;

/** What one or many ask for. */
type Shape = Pick<Selectable<WaitingShapeRow>, 'request' | 'first_rank' | 'first_seq'>;

/** A shape, its head, and the state of the work that waits there: null when somebody outside of work does. */
type Line = Shape & Omit<Head, 'id'> & { readonly head_id: string; readonly work_state: string | null };

type Page = () => Promise<(Offered & Line)[]>;

/** Before which everybody's turn is. */
const anyRank = Number.MAX_SAFE_INTEGER;

/** What came of looking at one shape: things have changed, the next may be looked at, or nobody else may have it. */
type Look = 'again' | 'next' | 'stop';

/**
 * Gives capacity to those who wait for it. Whenever a resource may have got room, its requests are
 * looked at before the transaction that gave it room commits: so at every moment nobody waits for
 * what is free, and who comes later can't be quicker.
 *
 * Cost: one small query when nobody waits, one more when nobody waits for such a resource, and a few for each grant.
 * What is walked is the shapes of the requests, so ten thousand that ask for the same are one.
 */
export class WaitingList {
  readonly #clock: Clock;
  readonly #admissions: Admissions;

  constructor(store: Store, clock: Clock, admissions: Admissions) {
    this.#clock = clock;
    this.#admissions = admissions;
    store.onBeforeCommit('capacity', async (tx, resourceIds) => {
      const [first = ''] = resourceIds;
      const lines = this.#lines(tx, first, anyRank);
      const ids = new Set(resourceIds);
      for (const id of resourceIds) {
        const sharers = await sharersOfLimits(tx, id);
        if (sharers === undefined) return;
        for (const sharer of sharers) ids.add(sharer);
      }
      for (const id of ids) await this.offer(tx, id, anyRank, id === first ? lines : undefined);
    });
  }

  /**
   * Grants what a resource has free to those who wait, in their order; with `beforeRank` only to
   * those whose turn is not after it.
   * @param first the first page of those who wait, if it was asked for.
   */
  async offer(
    tx: StoreTransaction,
    resourceId: string,
    beforeRank: number = anyRank,
    first: Page = this.#lines(tx, resourceId, beforeRank),
  ): Promise<void> {
    let page = first;
    for (let looked = 0; looked < limits.waitingShapesPerOffer;) {
      const lines = await page();
      const [resource] = lines;
      if (resource === undefined) return;
      const traits = await this.#traits(tx, lines, resourceId);
      let again = false;
      for (const line of lines) {
        const look = await this.#look(tx, line, resource, traits);
        if (look === 'stop') return;
        again = look === 'again';
        if (again) break;
      }
      looked += lines.length;
      // After a grant the resource has other numbers, and the shape another first request.
      page = this.#lines(tx, resourceId, beforeRank, again ? undefined : lines.at(-1));
    }
  }

  /** A page of those who wait for what the resource is, the first of each shape, by their turn; with the resource. */
  #lines({ db }: StoreTransaction, resourceId: string, beforeRank: number, after?: Shape): Page {
    return linesFor({ further: after !== undefined }).ahead(db, {
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

  async #look(tx: StoreTransaction, line: Line, resource: Offered, traits: ReadonlySet<string>): Promise<Look> {
    if (resource.held_rank !== null && line.first_rank > resource.held_rank) return 'stop';
    const request = parse(line.request);
    if (request.exclude?.includes(resource.id) === true) return 'next';
    if (!request.traits.every((group) => group.some(({ trait }) => traits.has(trait)))) return 'next';
    const head: Head = { ...line, id: line.head_id };
    if (!isWanted(line, this.#clock.now())) {
      await endWaiting(tx, head, 'withdrawn');
      return 'again';
    }
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
    // Who is refused by a resource that is full is looked at when it gives something back.
    return granted.resource.slots_used < granted.resource.slots_total ? 'again' : 'stop';
  }

  /**
   * Smaller requests may go first where a big one doesn't fit yet, but not for ever: from a certain age
   * on, one resource that could fit it is kept from all whose turn is later, until it does.
   */
  async #holdBack(tx: StoreTransaction, request: CapacityRequest, head: Head, resource: Offered): Promise<Look> {
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

function isWanted({ deadline_at, waiter, work_state }: Line, now: number): boolean {
  if (deadline_at !== null && deadline_at <= now) return false;
  return waiter === null || (work_state !== null && !isFinal(work_state as WorkState));
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

const traitsOf = prepared((db, p: Bind<{ resourceId: string }>) =>
  db.selectFrom('traits').select('trait').where('resource_id', '=', p('resourceId')),
);

interface LinesValues {
  readonly resourceId: string;
  readonly beforeRank: number;
  readonly rank: number;
  readonly seq: number;
}

/** The shapes that a resource suits, and the heads of their lines; `further`: after the given turn. */
const linesFor = preparedFor((db, p: Bind<LinesValues>, { further }: { readonly further: boolean }) =>
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
    .innerJoin('waiting as w', 'w.seq', 's.first_seq')
    .leftJoin('work_items', 'work_items.id', 'w.waiter')
    .select([
      ...(['r.id', 'r.kind', 'r.name', 'r.group_id', 'r.labels', 'r.load', 'r.held_rank', 'r.slots_total'] as const),
      ...(['r.slots_used', 'r.cpu_total', 'r.cpu_used', 'r.memory_mb_total', 'r.memory_mb_used'] as const),
      ...(['r.storage_gb_total', 'r.storage_gb_used'] as const),
      ...(['s.request', 's.first_rank', 's.first_seq', 'w.id as head_id', 'w.shape', 'w.state', 'w.rank'] as const),
      ...(['w.holder', 'w.waiter', 'w.held_id', 'w.expected_ms', 'w.enqueued_at', 'w.deadline_at'] as const),
      'work_items.state as work_state',
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
