import type { Selectable } from 'kysely';
import type { GenericSchema } from 'valibot';
import type { Rejection, ScoredCandidate, UnmetRequirement } from '../model/requirements.ts';
import { validate } from '../model/validate.ts';
import { release, type CapacityRequest } from '../pool/reservations.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import { compatible, type Compatible, type OfferServices } from './offers.ts';
import {
  givenIdSchema,
  reserveOptionsSchema,
  selectOptionsSchema,
  type ReserveOptions,
  type SelectOptions,
} from './options.ts';
import { kindName, type SelectionFailure } from './outcome.ts';
import type { Selection } from './select.ts';

/** What came of choosing, whatever the kind. */
export interface SelectionResult {
  readonly success: boolean;
  /** When it was reserved. Renew it, or let the work item that holds it do so. */
  readonly reservationId?: string;
  /** Why not: what is in the way, and what could be had instead. */
  readonly errorMessage?: string;
  /** The next best; when one was named that is full or unavailable, others that have room. */
  readonly alternatives: readonly ScoredCandidate[];
  /** Seconds until it can be expected when it is requested now; absent when nobody can tell. */
  readonly estimatedWaitTime?: number;
  /** Why this one. */
  readonly score?: ScoredCandidate;
  /** What stands in the way; empty on success. */
  readonly unmet: readonly UnmetRequirement[];
  /** What to change; empty on success. */
  readonly suggestions: readonly string[];
  /** Why not the others, the nearest first; empty on success. */
  readonly rejections: readonly Rejection[];
}

/** A resource that fits, as it is, with what it has free. */
export type Offer<View> = Compatible & { readonly resource: View };

/** What came of choosing, and what was chosen. */
export interface Selected<View> {
  readonly result: SelectionResult;
  readonly resource?: View;
}

/** How users see the resources of a kind. */
export interface Views<View> {
  get(id: string): Promise<View>;
  viewOf(row: Selectable<ResourceRow>): Promise<View>;
}

/** What differs between the kinds. */
export interface SelectionKind<Requirements, View> {
  readonly schema: GenericSchema<unknown, Requirements>;
  readonly toRequest: (requirements: Requirements) => CapacityRequest;
  readonly views: Views<View>;
}

/** Thrown to undo a look. */
const undo: unique symbol = Symbol('undo');

/** Choosing and reserving by the requirements of one kind. */
export class ResourceSelection<Requirements, View> {
  readonly #services: OfferServices;
  readonly #kind: SelectionKind<Requirements, View>;

  constructor(services: OfferServices, kind: SelectionKind<Requirements, View>) {
    this.#services = services;
    this.#kind = kind;
  }

  /** @throws `invalid-input` with one issue per field. */
  #request(requirements: Requirements): CapacityRequest {
    return this.#kind.toRequest(validate('the requirements', this.#kind.schema, requirements));
  }

  /** Chooses the best, and reserves it for the holder if there is one. */
  async select(requirements: Requirements, options: SelectOptions = {}): Promise<Selected<View>> {
    const request = this.#request(requirements);
    return this.#select(request, validate('the options', selectOptionsSchema, options));
  }

  /** Reserves this one, if it fits and can be had now. */
  async reserve(id: string, requirements: Requirements, options: ReserveOptions): Promise<Selected<View>> {
    const request = { ...this.#request(requirements), only: givenId(id) };
    return this.#select(request, validate('the options', reserveOptionsSchema, options));
  }

  async #select(request: CapacityRequest, options: SelectOptions): Promise<Selected<View>> {
    const { holder, ...more } = options;
    const outcome =
      holder === undefined
        ? await this.#look(request, more)
        : await this.#services.selection.take(request, holder, more);
    if (!outcome.success) return { result: failed(request, outcome) };
    const { reservation, resource, chosen, alternatives } = outcome;
    return {
      result: {
        success: true,
        ...(holder !== undefined && { reservationId: reservation.id }),
        alternatives,
        score: chosen,
        unmet: [],
        suggestions: [],
        rejections: [],
      },
      resource: await this.#kind.views.viewOf(resource),
    };
  }

  /** What a reservation would get, policies, strategies and those who wait included; nothing is changed. */
  async #look(
    request: CapacityRequest,
    options: { readonly priority?: number },
  ): Promise<Awaited<ReturnType<Selection['take']>>> {
    const { store, selection } = this.#services;
    let outcome: Awaited<ReturnType<typeof selection.attempt>> | undefined;
    try {
      await store.transaction(async (tx) => {
        const rank = await selection.rank(tx, request, options.priority ?? 0);
        outcome = await selection.attempt(tx, request, { holder: 'a look', rank });
        throw undo;
      });
    } catch (thrown) {
      if (thrown !== undo) throw thrown;
    }
    return outcome?.success === true ? outcome : selection.explain(request, outcome?.refusals);
  }

  /** Those that fit, with their present capacity; those that can be had now first. One page. */
  async compatible(requirements: Requirements): Promise<readonly Offer<View>[]> {
    const { views } = this.#kind;
    const offers = await compatible(this.#services, this.#request(requirements));
    return Promise.all(offers.map(async (offer) => ({ ...offer, resource: await views.get(offer.resourceId) })));
  }

  /** How good one resource would be now, or what is in the way. */
  async score(id: string, requirements: Requirements): Promise<ScoredCandidate | Rejection> {
    const request = { ...this.#request(requirements), only: givenId(id) };
    const [scored] = await this.#services.selection.candidates(request);
    if (scored !== undefined) return scored;
    const { rejections } = await this.#services.selection.explain(request);
    return rejections[0] ?? { resourceId: id, name: id, reasons: [], temporary: false };
  }

  /** Gives back what was reserved. Harmless when it has ended. */
  async release(reservationId: string): Promise<void> {
    const { store } = this.#services;
    const id = givenId(reservationId);
    await store.transaction((tx) => release(tx, id));
  }
}

function givenId(id: string): string {
  return validate('the request', givenIdSchema, { id }).id;
}

function failed(request: CapacityRequest, failure: SelectionFailure): SelectionResult {
  const { alternatives, unmet, suggestions, rejections, estimatedWaitMs } = failure;
  const [nearest] = rejections;
  const why =
    nearest === undefined
      ? `there is no ${kindName(request)} that could be chosen`
      : `${kindName(request)} ${nearest.name}: ${nearest.reasons.map(({ message }) => message).join(', ')}`;
  return {
    success: false,
    errorMessage: [why, ...suggestions].join('; '),
    alternatives,
    ...(estimatedWaitMs !== undefined && { estimatedWaitTime: estimatedWaitMs / 1000 }),
    unmet,
    suggestions,
    rejections,
  };
}
