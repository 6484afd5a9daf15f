import type { Clock, Random } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { ScoredCandidate, UnmetRequirement } from '../model/requirements.ts';
import type { Admissions } from '../pool/admission.ts';
import type { CapacityRequest, Grant, NewLease, Reservation } from '../pool/reservations.ts';
import { availablePage, suitable, type CandidateRow } from '../pool/suitable.ts';
import {
  activeReservation,
  anyWaiting,
  endWaiting,
  enqueueWaiting,
  placeOf,
  rankOf,
  refuseTooManyWaiting,
} from '../pool/waiting-records.ts';
import type { WaitingList } from '../pool/waiting-list.ts';
import { newId } from '../runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { estimateBuildTime, type BuildTimeEstimate } from './build-times.ts';
import { explain } from './explain.ts';
import { factsOf } from './facts.ts';
import {
  suggestionsFor,
  unmetOf,
  type SelectionFailure,
  type SelectionOutcome,
  type SelectionSuccess,
} from './outcome.ts';
import type { Strategies } from './strategy.ts';
import { estimateWait } from './wait-estimate.ts';

/** What came of trying to reserve, within the transaction. */
export type Attempt =
  | (SelectionSuccess & Grant)
  | {
      readonly success: false;
      /** What policies and strategies said, by resource. */
      readonly refusals: ReadonlyMap<string, UnmetRequirement>;
    };

/** A request that may wait. */
export interface Ask {
  readonly request: CapacityRequest;
  readonly holder: string;
  readonly priority: number;
  readonly expectedMs?: number;
  /** Work item to wake when it is granted; asks in its name again find its place. */
  readonly waiter?: string;
  /** The id of its place, and then of its reservation. Default: the waiter's, else a new one. */
  readonly id?: string;
  readonly deadlineAt?: number;
}

/** What came of it: it was granted, has a place on the waiting list, or can never be met as it is. */
export type Answer =
  | { readonly state: 'granted'; readonly reservation: Reservation }
  | { readonly state: 'waiting'; readonly id: string }
  | { readonly state: 'unfit'; readonly refusals: ReadonlyMap<string, UnmetRequirement> };

/** What selection is made of. */
export interface SelectionOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly admissions: Admissions;
  readonly waiting: WaitingList;
  readonly strategies: Strategies;
}

/** Chooses resources: filter by indexed SQL, score, reserve atomically. */
export class Selection {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #admissions: Admissions;
  readonly #waiting: WaitingList;
  readonly #strategies: Strategies;

  constructor(options: SelectionOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#admissions = options.admissions;
    this.#waiting = options.waiting;
    this.#strategies = options.strategies;
  }

  /**
   * Resources that could be reserved right now, best first: the preferred one, then the least
   * loaded; equals in the order of their ids.
   */
  async candidates(request: CapacityRequest): Promise<ScoredCandidate[]> {
    const { db } = this.#store;
    const now = this.#clock.now();
    const rows = await availablePage(db, request, now, { limit: limits.pageSize });
    return this.#ranked(db, [...rows, ...(await preferredAmong(db, request, now, rows))], request);
  }

  /** Chooses and reserves in one transaction, or says why not. Nobody is put on the waiting list. */
  async reserve(
    request: CapacityRequest,
    holder: string,
    options: { readonly priority?: number; readonly expectedMs?: number } = {},
  ): Promise<SelectionOutcome> {
    const taken = await this.take(request, holder, options);
    if (!taken.success) return taken;
    const { resource: _resource, ...outcome } = taken;
    return outcome;
  }

  /** As {@link Selection.reserve}, with the resource's row. */
  async take(
    request: CapacityRequest,
    holder: string,
    options: { readonly priority?: number; readonly expectedMs?: number } = {},
  ): Promise<(SelectionSuccess & Grant) | SelectionFailure> {
    const { expectedMs } = options;
    const attempt = await this.#store.transaction(async (tx) => {
      const lease = { holder, rank: await this.rank(tx, request, options.priority ?? 0) };
      return this.attempt(tx, request, { ...lease, ...(expectedMs !== undefined && { expectedMs }) });
    });
    return attempt.success ? attempt : this.explain(request, attempt.refusals);
  }

  /** Whose turn a request is that is made now, with what policies add to its priority. */
  async rank(tx: StoreTransaction, request: CapacityRequest, priority: number): Promise<number> {
    return rankOf(this.#clock.now(), priority + (await this.#admissions.boost(tx, request)));
  }

  /** Chooses and reserves as part of a transaction. Those who wait and whose turn is before come first. */
  async attempt(
    tx: StoreTransaction,
    request: CapacityRequest,
    lease: Pick<NewLease, 'holder' | 'rank' | 'expectedMs'> & { readonly id?: string },
  ): Promise<Attempt> {
    const now = this.#clock.now();
    const { id = newId(this.#clock, this.#random), rank = now } = lease;
    const others = await anyWaiting(tx, request.kind);
    const refusals = new Map<string, UnmetRequirement>();
    const limit = this.#strategies.onlyLoadDecides(request) ? limits.selectionLeastLoaded : limits.selectionScored;
    let after: CandidateRow | undefined;
    for (let looked = 0; looked < limits.selectionMaxCandidates; looked += limit) {
      const page = await availablePage(tx.db, request, rank, { limit, after });
      const rows = after === undefined ? [...page, ...(await preferredAmong(tx.db, request, rank, page))] : page;
      const byId = new Map(rows.map((row) => [row.id, row]));
      const scored = await this.#ranked(tx.db, rows, request);
      for (const [index, chosen] of scored.entries()) {
        const candidate = byId.get(chosen.resourceId);
        if (candidate === undefined) continue;
        if (others) await this.#waiting.offer(tx, candidate.id, rank);
        const { granted, refused } = await this.#admissions.grant(tx, request, candidate, { ...lease, id, rank, now });
        if (refused !== undefined) refusals.set(candidate.id, refused);
        if (granted === undefined) continue;
        return { success: true, ...granted, chosen, alternatives: scored.slice(index + 1) };
      }
      if (page.length < limit) break;
      after = page.at(-1);
    }
    return { success: false, refusals };
  }

  /** Reserves, finds what was granted to the same asker meanwhile, or takes a place on the waiting list. @throws `unavailable` when that is full. */
  async obtain(tx: StoreTransaction, ask: Ask): Promise<Answer> {
    const { request, holder, priority, waiter, expectedMs, deadlineAt } = ask;
    const place = await placeOf(tx, ask);
    if (place?.state === 'waiting') {
      if (await this.couldFit(tx.db, request)) return { state: 'waiting', id: place.id };
      await endWaiting(tx, place, 'withdrawn');
      return { state: 'unfit', refusals: new Map() };
    }
    if (place !== undefined) {
      await endWaiting(tx, place, 'collected');
      const reservation = await activeReservation(tx, place.id);
      if (reservation !== undefined) return { state: 'granted', reservation };
    }
    const id = place === undefined && ask.id !== undefined ? ask.id : newId(this.#clock, this.#random);
    const points = priority + (await this.#admissions.boost(tx, request));
    const now = this.#clock.now();
    const known = { id, holder, ...(expectedMs !== undefined && { expectedMs }) };
    const attempt = await this.attempt(tx, request, { ...known, rank: rankOf(now, points) });
    if (attempt.success) return { state: 'granted', reservation: attempt.reservation };
    // Those that policies refuse for good are no use to wait for.
    const never = [...attempt.refusals].filter(([, { final }]) => final === true).map(([refused]) => refused);
    const hopeful = { ...request, exclude: [...(request.exclude ?? []), ...never] };
    if (!(await this.couldFit(tx.db, hopeful))) return { state: 'unfit', refusals: attempt.refusals };
    if (waiter === undefined) await refuseTooManyWaiting(tx);
    await enqueueWaiting(tx, request, {
      ...known,
      priority: points,
      now,
      ...(waiter !== undefined && { waiter }),
      ...(deadlineAt !== undefined && { deadlineAt }),
    });
    return { state: 'waiting', id };
  }

  /** How long a build is expected to take, on a server or on any; undefined when nothing was learned yet. */
  estimateBuildTime(key: Parameters<typeof estimateBuildTime>[1]): Promise<BuildTimeEstimate | undefined> {
    return estimateBuildTime(this.#store.db, key);
  }

  /** Why nothing fits now, how long it would take, and what to do about it. */
  async explain(
    request: CapacityRequest,
    refusals: ReadonlyMap<string, UnmetRequirement> = new Map(),
  ): Promise<SelectionFailure> {
    const { db } = this.#store;
    const now = this.#clock.now();
    const rejections = await explain(this.#store, request, refusals);
    const temporary = await this.couldFit(db, request);
    const waitMs = temporary ? await estimateWait(db, request, now) : undefined;
    const { only: _only, ...anywhere } = request;
    const known = {
      rejections,
      temporary,
      alternatives: request.only === undefined ? [] : await this.candidates(anywhere),
      ...(waitMs !== undefined && { estimatedWaitMs: waitMs }),
    };
    const suggestions = suggestionsFor(request, known);
    return { success: false, ...known, unmet: unmetOf(rejections), suggestions };
  }

  /** Whether a resource meets everything that does not change by itself. */
  async couldFit(db: Pick<Store['db'], 'selectFrom'>, request: CapacityRequest): Promise<boolean> {
    return (await suitable(db, request).limit(1).executeTakeFirst()) !== undefined;
  }

  async #ranked(
    db: Pick<Store['db'], 'selectFrom'>,
    rows: readonly CandidateRow[],
    request: CapacityRequest,
  ): Promise<ScoredCandidate[]> {
    const facts = await factsOf(
      db,
      request,
      rows.map(({ id }) => id),
    );
    return this.#strategies.rank(rows, request, facts);
  }
}

/** The preferred resource if it is available, but too loaded to be among the first. */
async function preferredAmong(
  db: Store['db'],
  request: CapacityRequest,
  rank: number,
  first: readonly CandidateRow[],
): Promise<readonly CandidateRow[]> {
  const { preferred, only = preferred } = request;
  if (preferred === undefined || only !== preferred || first.some(({ id }) => id === preferred)) return [];
  return availablePage(db, { ...request, only }, rank, { limit: 1 });
}
