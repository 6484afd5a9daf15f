import type { Logger } from '../contracts/runtime.ts';
import { toBringupError } from '../errors.ts';
import type { ScoredCandidate, UnmetRequirement } from '../model/requirements.ts';
import type { ResourceKind } from '../model/resource.ts';
import type { Admission, AdmissionCandidate } from '../pool/admission.ts';
import type { CapacityRequest } from '../pool/reservations.ts';
import type { CandidateRow } from '../pool/suitable.ts';

/** An amount of each capacity. */
export interface CapacityFigures {
  readonly slots: number;
  readonly cpuCores: number;
  readonly memoryMb: number;
  readonly storageGb: number;
}

/** A resource that meets a request's requirements and has room for it, as strategies see it. */
export interface SelectionCandidate {
  readonly resourceId: string;
  readonly kind: ResourceKind;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The group that decides over it. */
  readonly groupId?: string;
  readonly total: CapacityFigures;
  /** What is not reserved. */
  readonly free: CapacityFigures;
  /** Share of the most used capacity that is reserved, 0…1. */
  readonly load: number;
  /** How long the request's build is expected to take there, in seconds, as far as anything was learned. */
  readonly expectedSeconds?: number;
  /** Whether it would have to be flashed first to run the firmware that is asked for. */
  readonly requiresFlashing?: boolean;
}

/** What is known of a candidate for this very request. */
export type CandidateFacts = Pick<SelectionCandidate, 'expectedSeconds' | 'requiresFlashing'>;

/**
 * A say in which resource is taken, of those that meet the requirements and have room. Both functions
 * are called within a transaction: they must be quick, must not wait, and must give the same answer for
 * the same arguments. One that throws is named in the explanation: its resource is passed over (filter),
 * or gets no points from it (score).
 */
export interface SelectionStrategy {
  /** Names its part of a score, such as `same-rack`. */
  readonly name: string;
  /** Which kinds it has a say in. Default: all. */
  readonly kinds?: readonly ResourceKind[];
  /** How much its score counts. The default parts: `preferred` 1,000, `firmware` 10, `idle` 1, `buildTime` 1. Default 1. */
  readonly weight?: number;
  /** Why the resource may not be taken; undefined when it may. Asked for waiting requests, too. */
  filter?(candidate: SelectionCandidate, request: CapacityRequest): UnmetRequirement | undefined;
  /** How good it would be, 0…100; more is better. */
  score?(candidate: SelectionCandidate, request: CapacityRequest): number;
}

/**
 * What scores without anybody's doing: a preferred resource that fits always wins, then a board
 * that runs the firmware already; then the idle and, for builds, the quick ones, equally.
 */
export const defaultStrategies: readonly SelectionStrategy[] = [
  { name: 'preferred', weight: 1_000, score: ({ resourceId }, { preferred }) => (resourceId === preferred ? 100 : 0) },
  { name: 'firmware', weight: 10, score: ({ requiresFlashing }) => (requiresFlashing === false ? 100 : 0) },
  { name: 'idle', weight: 1, score: ({ load }) => 100 * (1 - load) },
];

/** The learned build times as a strategy: the quickest of the candidates gets 100, one half as quick 50. */
function buildTime(candidates: readonly SelectionCandidate[]): SelectionStrategy | undefined {
  const times = candidates.flatMap(({ expectedSeconds }) => (expectedSeconds === undefined ? [] : [expectedSeconds]));
  const best = Math.min(...times);
  if (times.length === 0 || best <= 0) return undefined;
  return {
    name: 'buildTime',
    weight: 1,
    // A server of which nothing is known is worth a try: it counts as quick.
    score: ({ expectedSeconds = best }) => (100 * best) / expectedSeconds,
  };
}

/** Applies strategies, and keeps their errors from doing harm. */
export class Strategies implements Admission {
  readonly #given: readonly SelectionStrategy[];
  readonly #logger: Logger;

  constructor(given: readonly SelectionStrategy[], logger: Logger) {
    this.#given = given;
    this.#logger = logger;
  }

  /** Whether the order of the index, least loaded first, is the order of the scores. A wish is looked up by itself. */
  onlyLoadDecides(request: CapacityRequest): boolean {
    const learned = request.repository !== undefined || request.firmwareVersion !== undefined;
    return !learned && this.#of(request).every(({ score }) => score === undefined);
  }

  /** The candidates by score, the best first; equals in the order of their ids. */
  rank(
    rows: readonly CandidateRow[],
    request: CapacityRequest,
    facts: ReadonlyMap<string, CandidateFacts> = new Map(),
  ): ScoredCandidate[] {
    const candidates = rows.map((row) => toCandidate(row, facts.get(row.id)));
    const quick = buildTime(candidates);
    const strategies = [...defaultStrategies, ...(quick === undefined ? [] : [quick]), ...this.#of(request)];
    return candidates
      .map((candidate) => this.#score(candidate, request, strategies))
      .sort((a, b) => b.score - a.score || (a.resourceId < b.resourceId ? -1 : 1));
  }

  async admit(_tx: unknown, request: CapacityRequest, row: AdmissionCandidate): Promise<UnmetRequirement | undefined> {
    for (const strategy of this.#of(request)) {
      if (strategy.filter === undefined) continue;
      try {
        const unmet = strategy.filter(toCandidate(row), request);
        if (unmet !== undefined) return unmet;
      } catch (error) {
        const { message } = this.#failed(strategy, row.id, error);
        return {
          requirement: `strategy:${strategy.name}`,
          wanted: true,
          message: `the strategy ${strategy.name} failed: ${message}`,
        };
      }
    }
    return undefined;
  }

  #of(request: CapacityRequest): readonly SelectionStrategy[] {
    return this.#given.filter(({ kinds }) => kinds === undefined || kinds.includes(request.kind));
  }

  #score(
    candidate: SelectionCandidate,
    request: CapacityRequest,
    strategies: readonly SelectionStrategy[],
  ): ScoredCandidate {
    const parts: Record<string, number> = {};
    let sum = 0;
    let weights = 0;
    for (const strategy of strategies) {
      if (strategy.score === undefined) continue;
      const { weight = 1 } = strategy;
      // A wish that nobody has must not thin out the other parts.
      if (strategy.name === 'preferred' && request.preferred === undefined) continue;
      if (strategy.name === 'firmware' && request.firmwareVersion === undefined) continue;
      const points = this.#points(strategy, candidate, request);
      parts[strategy.name] = points;
      sum += weight * points;
      weights += weight;
    }
    const { resourceId, name } = candidate;
    return { resourceId, name, parts, score: weights === 0 ? 0 : sum / weights };
  }

  #points(strategy: SelectionStrategy, candidate: SelectionCandidate, request: CapacityRequest): number {
    try {
      const points = strategy.score?.(candidate, request) ?? 0;
      if (Number.isNaN(points)) throw new TypeError('its score is not a number');
      return Math.max(0, Math.min(100, points));
    } catch (error) {
      this.#failed(strategy, candidate.resourceId, error);
      return 0;
    }
  }

  #failed(strategy: SelectionStrategy, resourceId: string, thrown: unknown): Error {
    const error = toBringupError(thrown);
    this.#logger.error({ error, strategy: strategy.name, resourceId }, 'a selection strategy failed');
    return error;
  }
}

function toCandidate(row: AdmissionCandidate, facts: CandidateFacts = {}): SelectionCandidate {
  return {
    resourceId: row.id,
    kind: row.kind as ResourceKind,
    name: row.name,
    // Most strategies don't look at these.
    get labels() {
      return JSON.parse(row.labels) as Record<string, string>;
    },
    get total() {
      return totalOf(row);
    },
    get free() {
      return freeOf(row);
    },
    ...(row.group_id !== null && { groupId: row.group_id }),
    load: row.load,
    ...facts,
  };
}

function totalOf(row: AdmissionCandidate): CapacityFigures {
  return {
    slots: row.slots_total,
    cpuCores: row.cpu_total,
    memoryMb: row.memory_mb_total,
    storageGb: row.storage_gb_total,
  };
}

/** What of a resource is not reserved. */
export function freeOf(row: Omit<AdmissionCandidate, 'kind' | 'name' | 'id' | 'group_id' | 'labels'>): CapacityFigures {
  return {
    slots: row.slots_total - row.slots_used,
    cpuCores: row.cpu_total - row.cpu_used,
    memoryMb: row.memory_mb_total - row.memory_mb_used,
    storageGb: row.storage_gb_total - row.storage_gb_used,
  };
}
