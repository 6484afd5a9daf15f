import type { SelectQueryBuilder } from 'kysely';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError, type ErrorDetails } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Rejection, ScoredCandidate, UnmetRequirement } from '../model/requirements.ts';
import { Admissions, type AdmissionCandidate } from '../pool/admission.ts';
import type { CapacityRequest, Reservation } from '../pool/reservations.ts';
import { newId } from '../runtime.ts';
import type { Schema } from '../store/schema.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { explain } from './explain.ts';

/** What came of a request. */
export type SelectionOutcome =
  | {
      readonly success: true;
      readonly reservation: Reservation;
      readonly chosen: ScoredCandidate;
      /** The next best, in order. */
      readonly alternatives: readonly ScoredCandidate[];
    }
  | {
      readonly success: false;
      /** Whether it can be met once something is released or comes back. */
      readonly temporary: boolean;
      readonly rejections: readonly Rejection[];
    };

/** How much each part of a score counts. A preferred resource that fits always wins. */
export const scoreWeights: Readonly<Record<'preferred' | 'idle', number>> = { preferred: 9, idle: 1 };

/** Chooses resources: filter by indexed SQL, score, reserve atomically. */
export class Selection {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #admissions: Admissions;

  constructor(store: Store, clock: Clock, random: Random, admissions: Admissions = new Admissions()) {
    this.#store = store;
    this.#clock = clock;
    this.#random = random;
    this.#admissions = admissions;
  }

  /**
   * Resources that could be reserved right now, best first: the preferred one, then the least
   * loaded; equals in the order of their ids.
   */
  async candidates(request: CapacityRequest): Promise<ScoredCandidate[]> {
    return ranked(await this.#candidates(this.#store.db, request), request.preferred);
  }

  /**
   * Chooses and reserves in one transaction. The reservation belongs to `holder` and lasts as long
   * as that work does.
   */
  async reserve(
    request: CapacityRequest,
    holder: string,
    within: <T>(change: (tx: StoreTransaction) => Promise<T>) => Promise<T> = (change) =>
      this.#store.transaction(change),
    record?: (tx: StoreTransaction, reservation: Reservation) => Promise<void>,
  ): Promise<SelectionOutcome> {
    const refusals = new Map<string, UnmetRequirement>();
    const granted = await within(async (tx) => {
      refusals.clear();
      const candidates = await this.#candidates(tx.db, request);
      const byId = new Map(candidates.map((candidate) => [candidate.id, candidate]));
      const scored = ranked(candidates, request.preferred);
      for (const [index, chosen] of scored.entries()) {
        const candidate = byId.get(chosen.resourceId);
        if (candidate === undefined) continue;
        const lease = { id: newId(this.#clock, this.#random), holder, now: this.#clock.now() };
        const { granted: reservation, refused } = await this.#admissions.grant(tx, request, candidate, lease);
        if (refused !== undefined) refusals.set(candidate.id, refused);
        if (reservation === undefined) continue;
        await record?.(tx, reservation);
        return { success: true as const, reservation, chosen, alternatives: scored.slice(index + 1) };
      }
      return undefined;
    });
    if (granted !== undefined) return granted;
    const rejections = await explain(this.#store, request, refusals);
    return { success: false, rejections, temporary: await this.#couldFit(request) };
  }

  /** Whether a resource meets everything that does not change by itself. */
  async #couldFit(request: CapacityRequest): Promise<boolean> {
    const [first] = await suitable(this.#store.db, request).limit(1).execute();
    return first !== undefined;
  }

  async #candidates(db: Pick<Store['db'], 'selectFrom'>, request: CapacityRequest): Promise<Candidate[]> {
    const { use, preferred } = request;
    const query = suitable(db, request)
      .where('offers.open', '=', 1)
      .where((eb) => eb(eb('slots_total', '-', eb.ref('slots_used')), '>=', use.slots))
      .where((eb) => eb(eb('cpu_total', '-', eb.ref('cpu_used')), '>=', use.cpu))
      .where((eb) => eb(eb('memory_mb_total', '-', eb.ref('memory_mb_used')), '>=', use.memoryMb))
      .where((eb) => eb(eb('storage_gb_total', '-', eb.ref('storage_gb_used')), '>=', use.storageGb));
    const rows = await query
      .orderBy('offers.load')
      .orderBy('offers.resource_id')
      .limit(limits.selectionCandidates)
      .execute();
    if (preferred !== undefined && !rows.some((row) => row.id === preferred)) {
      const [row] = await query.where('offers.resource_id', '=', preferred).execute();
      if (row !== undefined) rows.push(row);
    }
    return rows;
  }
}

type Candidate = AdmissionCandidate & { readonly load: number };

function ranked(candidates: readonly Candidate[], preferred: string | undefined): ScoredCandidate[] {
  return candidates
    .map((row) => score(row, preferred))
    .sort((a, b) => b.score - a.score || (a.resourceId < b.resourceId ? -1 : 1));
}

/** Resources that meet what does not depend on the moment: architecture, traits and size. */
function suitable(
  db: Pick<Store['db'], 'selectFrom'>,
  request: CapacityRequest,
): SelectQueryBuilder<Schema, 'offers' | 'resources', Candidate> {
  const { use, minimum } = request;
  let query = db
    .selectFrom('offers')
    .innerJoin('resources', 'resources.id', 'offers.resource_id')
    .select([
      'resources.id',
      'resources.kind',
      'resources.name',
      'resources.group_id',
      'resources.labels',
      'offers.load',
    ])
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
  const { only, exclude = [] } = request;
  if (exclude.length > 0) query = query.where('offers.resource_id', 'not in', exclude);
  return only === undefined ? query : query.where('offers.resource_id', '=', only);
}

function score(row: Candidate, preferred: string | undefined): ScoredCandidate {
  const parts = { preferred: row.id === preferred ? 100 : 0, idle: 100 * (1 - row.load) };
  const total = scoreWeights.preferred + scoreWeights.idle;
  return {
    resourceId: row.id,
    name: row.name,
    parts,
    score: (parts.preferred * scoreWeights.preferred + parts.idle * scoreWeights.idle) / total,
  };
}

/** The error for a request that nothing in the pool can ever meet as it is. */
export function noMatch(request: CapacityRequest, rejections: readonly Rejection[]): BringupError {
  const kind = request.kind.replace('_', ' ');
  const reasons = rejections
    .slice(0, 5)
    .map(({ name, reasons: unmet }) => `${name}: ${unmet.map((reason) => reason.message).join(', ')}`);
  const details: ErrorDetails = {
    kind: request.kind,
    architecture: request.architecture,
    rejections: rejections
      .slice(0, limits.errorLines)
      .map((rejection) => ({
        resourceId: rejection.resourceId,
        name: rejection.name,
        reasons: rejection.reasons.map((reason) => ({ ...reason })),
      })),
  };
  const message =
    reasons.length === 0
      ? `no ${kind} is registered${request.only === undefined ? '' : ` under the id ${request.only}`}; register one that serves ${request.architecture}`
      : `no ${kind} fits: ${reasons.join('; ')}`;
  return new BringupError('no-match', message, { details });
}
