import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { ScoredCandidate, UnmetRequirement } from '../model/requirements.ts';
import type { CapacityRequest } from '../pool/reservations.ts';
import { leastLoaded, suitable, type CandidateRow } from '../pool/suitable.ts';
import type { Store } from '../store/store.ts';
import { explain } from './explain.ts';
import type { Selection } from './select.ts';
import { freeOf, type CapacityFigures } from './strategy.ts';
import { estimateWait } from './wait-estimate.ts';

/** A resource that meets what does not depend on the moment, and whether it can be had now. */
export interface Compatible {
  readonly resourceId: string;
  /** Whether it has room now and nothing is in the way. */
  readonly available: boolean;
  /** What of it is not reserved. */
  readonly capacity: CapacityFigures;
  /** How good it would be; absent when it is not available. */
  readonly score?: ScoredCandidate;
  /** What is in the way just now. */
  readonly reasons: readonly UnmetRequirement[];
  /** When it is expected to have room, in seconds from now: 0 when it has, absent when nobody can tell. */
  readonly estimatedWaitTime?: number;
}

/** What these look-ups work with. */
export interface OfferServices {
  readonly store: Store;
  readonly clock: Clock;
  readonly selection: Selection;
}

/** Resources that meet a request, those that can be had now first, the best of them first; one page. */
export async function compatible(services: OfferServices, request: CapacityRequest): Promise<Compatible[]> {
  const scored = new Map(
    (await services.selection.candidates(request)).map((candidate) => [candidate.resourceId, candidate]),
  );
  const { db } = services.store;
  const rows: CandidateRow[] = [];
  for (const open of [1, 0]) {
    rows.push(
      ...(await leastLoaded(db, request.architecture, limits.pageSize - rows.length, (set) =>
        suitable(db, request, set)
          .where('open', '=', open)
          .orderBy('load')
          .orderBy('id')
          .limit(limits.pageSize - rows.length)
          .execute(),
      )),
    );
    if (rows.length >= limits.pageSize) break;
  }
  const found: Compatible[] = [];
  for (const row of rows) found.push(await offerOf(services, request, row, scored.get(row.id)));
  return found.sort(
    (a, b) => Number(b.available) - Number(a.available) || (b.score?.score ?? 0) - (a.score?.score ?? 0),
  );
}

async function offerOf(
  { store, clock }: OfferServices,
  request: CapacityRequest,
  row: CandidateRow,
  score: ScoredCandidate | undefined,
): Promise<Compatible> {
  const base = { resourceId: row.id, capacity: freeOf(row) };
  if (score !== undefined) return { ...base, available: true, score, reasons: [], estimatedWaitTime: 0 };
  const only = { ...request, only: row.id };
  const [rejection] = await explain(store, only);
  const waitMs = await estimateWait(store.db, only, clock.now());
  return {
    ...base,
    available: false,
    reasons: rejection?.reasons ?? [],
    ...(waitMs !== undefined && { estimatedWaitTime: waitMs / 1000 }),
  };
}
