import type { UnmetRequirement } from '../model/requirements.ts';
import type { StoreTransaction } from '../store/store.ts';
import { reserve, type CapacityRequest, type Grant, type NewLease } from './reservations.ts';
import type { CandidateRow } from './suitable.ts';

/** The resource that a decision is about. */
export type AdmissionCandidate = CandidateRow;

/**
 * Decides whether a request may have a resource that meets its requirements: what policies and
 * strategies have to say. The answer may depend on the request, the resource and the store's records,
 * and on nothing else: it is taken for all waiting requests that ask for the same.
 */
export interface Admission {
  /** Undefined for yes, otherwise why not. Part of the granting transaction. */
  admit(
    tx: StoreTransaction,
    request: CapacityRequest,
    candidate: AdmissionCandidate,
  ): Promise<UnmetRequirement | undefined>;
  /** Points added to the request's priority. Asked once, when it is made. */
  boost?(tx: StoreTransaction, request: CapacityRequest): Promise<number>;
}

/** The one place where a resource is granted: to a new request as to one that waited. */
export class Admissions {
  readonly #admissions: readonly Admission[];

  constructor(admissions: readonly Admission[] = []) {
    this.#admissions = admissions;
  }

  /** Why the request may not have it; the first to refuse decides. */
  async refusal(
    tx: StoreTransaction,
    request: CapacityRequest,
    candidate: AdmissionCandidate,
  ): Promise<UnmetRequirement | undefined> {
    for (const admission of this.#admissions) {
      const refused = await admission.admit(tx, request, candidate);
      if (refused !== undefined) return refused;
    }
    return undefined;
  }

  /** Points of priority that a request gets beside its own. */
  async boost(tx: StoreTransaction, request: CapacityRequest): Promise<number> {
    let points = 0;
    for (const admission of this.#admissions) {
      if (admission.boost !== undefined) points += await admission.boost(tx, request);
    }
    return points;
  }

  /** Grants the resource if it is admitted and, at this moment, has room. */
  async grant(
    tx: StoreTransaction,
    request: CapacityRequest,
    candidate: AdmissionCandidate,
    lease: Omit<NewLease, 'resourceId'>,
  ): Promise<{ readonly granted?: Grant; readonly refused?: UnmetRequirement }> {
    const refused = await this.refusal(tx, request, candidate);
    if (refused !== undefined) return { refused };
    const granted = await reserve(tx, request, { ...lease, resourceId: candidate.id });
    return granted === undefined ? {} : { granted };
  }
}
