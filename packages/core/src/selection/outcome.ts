import { BringupError, type ErrorDetails } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Rejection, ScoredCandidate, UnmetRequirement } from '../model/requirements.ts';
import type { CapacityRequest, Reservation } from '../pool/reservations.ts';

/** A request that was granted. */
export interface SelectionSuccess {
  readonly success: true;
  readonly reservation: Reservation;
  readonly chosen: ScoredCandidate;
  /** The next best, in order. */
  readonly alternatives: readonly ScoredCandidate[];
}

/** A request that nothing fits now, and what can be done about it. */
export interface SelectionFailure {
  readonly success: false;
  /** Whether it can be met once something is released or comes back: it may wait. */
  readonly temporary: boolean;
  /** How long it would wait if it did, in ms. Absent when it is not temporary, or nobody can tell. */
  readonly estimatedWaitMs?: number;
  /** What stands in the way of all resources, or else of the nearest. */
  readonly unmet: readonly UnmetRequirement[];
  /** What to change, for a person; the most promising first. */
  readonly suggestions: readonly string[];
  /** Why each resource was not chosen, the nearest first. */
  readonly rejections: readonly Rejection[];
  /** Instead of the one that was named: others that would fit now, the best first. */
  readonly alternatives: readonly ScoredCandidate[];
}

/** What came of a request. */
export type SelectionOutcome = SelectionSuccess | SelectionFailure;

/** How a person calls what is asked for. */
export function kindName({ kind }: Pick<CapacityRequest, 'kind'>): string {
  return kind.replace('_', ' ');
}

/** What stands in the way: of all resources, or else of the nearest. The best there is of each. */
export function unmetOf(rejections: readonly Rejection[]): UnmetRequirement[] {
  const [nearest, ...others] = rejections;
  if (nearest === undefined) return [];
  const inAll = nearest.reasons.filter(({ requirement }) =>
    others.every(({ reasons }) => reasons.some((reason) => reason.requirement === requirement)),
  );
  return (inAll.length > 0 ? inAll : nearest.reasons).map((reason) => {
    const figures = rejections
      .flatMap(({ reasons }) => reasons.filter(({ requirement }) => requirement === reason.requirement))
      .flatMap(({ best }) => (typeof best === 'number' ? [best] : []));
    return figures.length === 0 ? reason : { ...reason, best: Math.max(...figures) };
  });
}

/** What to change so that the request can be met. */
export function suggestionsFor(
  request: CapacityRequest,
  failure: Pick<SelectionFailure, 'rejections' | 'temporary' | 'alternatives' | 'estimatedWaitMs'>,
): string[] {
  const { rejections, temporary, alternatives, estimatedWaitMs } = failure;
  const suggestions: string[] = [];
  if (alternatives.length > 0) {
    const names = alternatives.slice(0, 5).map(({ name }) => name);
    suggestions.push(`take another: ${names.join(', ')} ${names.length === 1 ? 'has' : 'have'} room`);
  }
  if (temporary) {
    const known = estimatedWaitMs === undefined ? '' : `, about ${Math.ceil(estimatedWaitMs / 1000)} s`;
    suggestions.push(`wait for it${known}: request it, and it is granted when its turn comes`);
  }
  const nearest = rejections.find((rejection) => !rejection.temporary) ?? rejections[0];
  if (!temporary && nearest !== undefined) {
    const lacks = nearest.reasons.map(({ requirement }) => requirement).join(', ');
    suggestions.push(`the nearest is ${nearest.name}, which lacks only ${lacks}`);
    for (const reason of nearest.reasons) suggestions.push(...hint(reason));
  }
  if (rejections.length === 0) {
    suggestions.push(
      request.only === undefined
        ? `register a ${kindName(request)} that serves ${request.architecture}`
        : `there is no ${kindName(request)} ${request.only}; leave it out, or name one that is registered`,
    );
  }
  return suggestions;
}

function hint({ requirement, wanted, best }: UnmetRequirement): string[] {
  if (typeof best === 'number') return [`ask for at most ${best} ${requirement}, not ${String(wanted)}`];
  if (best === undefined) return [`leave out ${requirement}`];
  return [`ask for ${requirement} ${String(best)}, not ${String(wanted)}`];
}

/** The error for a request that nothing in the pool can ever meet as it is. */
export function noMatch(request: CapacityRequest, failure: SelectionFailure): BringupError {
  const { rejections, unmet, suggestions } = failure;
  const kind = kindName(request);
  const reasons = rejections
    .slice(0, 5)
    .map(({ name, reasons: why }) => `${name}: ${why.map((reason) => reason.message).join(', ')}`);
  const details: ErrorDetails = {
    kind: request.kind,
    architecture: request.architecture,
    unmet: unmet.map((reason) => ({ ...reason })),
    suggestions,
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
  // Where nothing but a policy is in the way, that is what has to be told.
  const barred = rejections.find(({ reasons: why }) =>
    why.every(({ requirement }) => requirement.startsWith('policy:')),
  );
  const [policy] = barred?.reasons ?? [];
  if (policy === undefined) return new BringupError('no-match', message, { details });
  const code = policy.requirement === 'policy:requireApproval' ? 'approval-required' : 'policy-violation';
  return new BringupError(code, message, { details });
}
