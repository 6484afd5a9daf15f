import type { Selectable } from 'kysely';
import { abortedError, onAbort, throwIfAborted } from '../async.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Architecture } from '../model/architecture.ts';
import { pageLimit } from '../model/page.ts';
import type { ResourceKind } from '../model/resource.ts';
import { extend, release, toReservation, type CapacityRequest, type Reservation } from '../pool/reservations.ts';
import { activeReservation, endWaiting, placeOf } from '../pool/waiting-records.ts';
import { validate } from '../model/validate.ts';
import { newId } from '../runtime.ts';
import type { WaitingRow } from '../store/schema/waiting.ts';
import type { Store } from '../store/store.ts';
import {
  renewSchema,
  requestOptionsSchema,
  reservationListSchema,
  waitingListSchema,
  type RequestOptions,
  type ReservationListOptions,
  type WaitingListOptions,
} from './options.ts';
import { kindName, noMatch } from './outcome.ts';
import { capacityRequestSchema } from './schema.ts';
import type { Answer, Ask, Selection } from './select.ts';
import { estimateWait } from './wait-estimate.ts';

/** A request on the waiting list. Times are milliseconds since the Unix epoch. */
export interface WaitingRequest {
  /** Becomes the id of its reservation. */
  readonly id: string;
  readonly kind: ResourceKind;
  readonly architecture: Architecture;
  readonly holder: string;
  /** The work item that waits; absent when somebody outside of work does. */
  readonly workId?: string;
  /** With what policies add. */
  readonly priority: number;
  readonly enqueuedAt: number;
  /** It leaves the list then. */
  readonly deadlineAt?: number;
  /** 1 is next, among those that ask for the kind and architecture. */
  readonly position: number;
  /** Seconds; absent when nothing that could fit is in service. */
  readonly estimatedWaitTime?: number;
  /** The resource that is held back for it, since it has waited long. */
  readonly heldBackId?: string;
}

/** Capacity for whoever holds it: asked and waited for, renewed, given back. */
export class ReservationService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #selection: Selection;

  constructor(options: { store: Store; clock: Clock; random: Random; selection: Selection }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
    this.#selection = options.selection;
  }

  /**
   * Reserves a resource that fits, the best one there is; waits for its turn when none is free. A
   * caller that dies keeps its place until its deadline; what is granted to it meanwhile passes on to
   * the next after `limits.reservationMs`.
   * @throws `invalid-input` with one issue per field; `unavailable` when `limits.waitingRequestsMax` wait; `no-match` when nothing in the pool can ever meet
   * it (`details`: unmet, suggestions); `deadline-exceeded`, `aborted`: then it waits no longer; `conflict`
   * when the id is another holder's.
   */
  async request(request: CapacityRequest, options: RequestOptions): Promise<Reservation> {
    validate('the request', capacityRequestSchema, request);
    validate('the options', requestOptionsSchema, options);
    const what = `waiting for a ${kindName(request)}`;
    throwIfAborted(options.signal, what);
    const { holder, priority = 0, expectedMs, leaseMs, timeoutMs = limits.waitingMs } = options;
    const id = options.id ?? newId(this.#clock, this.#random);
    const deadlineAt = this.#clock.now() + timeoutMs;
    const ask = { id, request, holder, priority, deadlineAt, ...(expectedMs !== undefined && { expectedMs }) };
    const stop = new AbortController();
    const tooLong = (): BringupError =>
      new BringupError('deadline-exceeded', `${what} took longer than ${timeoutMs} ms`, {
        retryable: true,
        details: { timeoutMs, requestId: id },
      });
    using _timer = this.#clock.timer(timeoutMs, () => stop.abort(tooLong()));
    using _abort = onAbort(options.signal, () => stop.abort(abortedError(what, options.signal)));
    try {
      const reservation = await this.#untilGranted(ask, stop.signal);
      return leaseMs === undefined ? reservation : await this.renew(reservation.id, { leaseMs });
    } catch (error) {
      await this.#giveUp(ask);
      // Others take those off the list whose time is over, and may be quicker than our timer.
      const overtaken = isBringupError(error, 'aborted') && options.signal?.aborted !== true;
      throw overtaken && this.#clock.now() >= deadlineAt ? tooLong() : error;
    }
  }

  async #untilGranted(ask: Ask & { readonly id: string }, signal: AbortSignal): Promise<Reservation> {
    for (let waited = false; ; waited = true) {
      using change = this.#nextGrant(signal);
      const answer = await this.#look(ask, waited);
      if (answer === undefined) {
        throw new BringupError('aborted', `request ${ask.id} was taken off the waiting list`, {
          details: { requestId: ask.id },
        });
      }
      if (answer.state === 'unfit') {
        throw noMatch(ask.request, await this.#selection.explain(ask.request, answer.refusals));
      }
      if (answer.state === 'granted') {
        if (!signal.aborted) return answer.reservation;
        await this.release(answer.reservation.id);
      }
      signal.throwIfAborted();
      await change.happened;
      signal.throwIfAborted();
    }
  }

  /** Undefined when it waited and was taken off the list. */
  async #look(ask: Ask & { readonly id: string }, waited: boolean): Promise<Answer | undefined> {
    // What was granted to one who waited is there to be read; writing that it was seen would cost another commit.
    const reservation = waited ? await activeReservation(this.#store, ask.id) : undefined;
    if (reservation !== undefined) return { state: 'granted', reservation };
    return this.#store.transaction(async (tx): Promise<Answer | undefined> => {
      const place = await placeOf(tx, ask);
      const granted = place === undefined ? await activeReservation(tx, ask.id) : undefined;
      const known = place ?? granted;
      if (known !== undefined && known.holder !== ask.holder) {
        throw new BringupError('conflict', `the id ${ask.id} is that of a request of ${known.holder}`, {
          details: { requestId: ask.id, holder: known.holder },
        });
      }
      if (granted !== undefined) return { state: 'granted', reservation: granted };
      return waited && place === undefined ? undefined : this.#selection.obtain(tx, ask);
    });
  }

  #nextGrant(signal: AbortSignal): Disposable & { readonly happened: Promise<void> } {
    const { promise: happened, resolve } = Promise.withResolvers<void>();
    const parts = [
      this.#store.onCommit('grants', resolve),
      this.#clock.timer(limits.workPollMs, resolve),
      onAbort(signal, resolve),
    ];
    return {
      happened,
      [Symbol.dispose]: () => {
        for (const part of parts) part[Symbol.dispose]();
      },
    };
  }

  async #giveUp({ id, holder }: Pick<Ask, 'holder'> & { readonly id: string }): Promise<void> {
    await this.#store.transaction(async (tx) => {
      const place = await placeOf(tx, { id });
      if (place?.holder === holder) await endWaiting(tx, place, 'withdrawn');
      else if ((await activeReservation(tx, id))?.holder === holder) await release(tx, id);
    });
  }

  /**
   * Sets anew when a reservation ends: `leaseMs` from now, default `limits.reservationMs`.
   * @throws `invalid-input`; `lease-lost` when it has ended.
   */
  async renew(
    id: string,
    options: { readonly leaseMs?: number; readonly expectedEndAt?: number } = {},
  ): Promise<Reservation> {
    validate('the renewal', renewSchema, { id, ...options });
    const { leaseMs = limits.reservationMs, expectedEndAt } = options;
    const expiry = { now: this.#clock.now(), leaseMs, ...(expectedEndAt !== undefined && { expectedEndAt }) };
    await this.#store.transaction((tx) => extend(tx, id, expiry));
    return this.get(id);
  }

  /** Gives a reservation back. Harmless when it has ended. */
  async release(id: string): Promise<void> {
    await this.#store.transaction((tx) => release(tx, id));
  }

  /** A reservation that has not ended. @throws `not-found`. */
  async get(id: string): Promise<Reservation> {
    const reservation = await activeReservation(this.#store, id);
    if (reservation === undefined) {
      throw new BringupError('not-found', `there is no reservation ${id}, or it has ended`, { details: { id } });
    }
    return reservation;
  }

  /** Reservations that have not ended. @throws `invalid-input`. */
  async list(options: ReservationListOptions = {}): Promise<readonly Reservation[]> {
    validate('the options', reservationListSchema, options);
    const { resourceId, holder, after = '' } = options;
    const rows = await this.#store.db
      .selectFrom('reservations')
      .selectAll()
      .where('id', '>', after)
      .$if(resourceId !== undefined, (query) => query.where('resource_id', '=', resourceId ?? ''))
      .$if(holder !== undefined, (query) => query.where('holder', '=', holder ?? ''))
      .orderBy('id')
      .limit(pageLimit(options))
      .execute();
    return rows.map(toReservation);
  }

  /** Who waits, in the order of their turns. @throws `invalid-input`. */
  async listWaiting(options: WaitingListOptions = {}): Promise<readonly WaitingRequest[]> {
    validate('the options', waitingListSchema, options);
    const { kind, holder, after } = options;
    const last = after === undefined ? undefined : await this.#waiting(after);
    const rows = await this.#store.db
      .selectFrom('waiting')
      .selectAll()
      .where('state', '=', 'waiting')
      .$if(kind !== undefined, (query) => query.where('kind', '=', kind ?? 'host'))
      .$if(holder !== undefined, (query) => query.where('holder', '=', holder ?? ''))
      .$if(last !== undefined, (query) =>
        query.where((eb) =>
          eb.or([
            eb('rank', '>', last?.rank ?? 0),
            eb.and([eb('rank', '=', last?.rank ?? 0), eb('seq', '>', last?.seq ?? 0)]),
          ]),
        ),
      )
      .orderBy('rank')
      .orderBy('seq')
      .limit(pageLimit(options))
      .execute();
    return Promise.all(rows.map((row) => this.#view(row)));
  }

  /** One request that waits, by its id or that of the work item that made it. @throws `not-found`. */
  async getWaiting(id: string): Promise<WaitingRequest> {
    return this.#view(await this.#waiting(id));
  }

  /**
   * Takes a request off the waiting list; whoever waits for it gets `aborted`.
   * @throws `not-found`; `conflict` when a work item waits: cancel that.
   */
  async cancelWaiting(id: string): Promise<void> {
    const { waiter, id: placeId } = await this.#waiting(id);
    if (waiter !== null) {
      throw new BringupError('conflict', `work item ${waiter} waits for it; cancel that instead`, {
        details: { id: placeId, workId: waiter },
      });
    }
    await this.#store.transaction(async (tx) => {
      const place = await placeOf(tx, { id: placeId });
      if (place?.state === 'waiting') await endWaiting(tx, place, 'withdrawn');
    });
  }

  async #waiting(id: string): Promise<Selectable<WaitingRow>> {
    const row = await this.#store.db
      .selectFrom('waiting')
      .selectAll()
      .where((eb) => eb.or([eb('id', '=', id), eb('waiter', '=', id)]))
      .where('state', '=', 'waiting')
      .executeTakeFirst();
    if (row === undefined) throw new BringupError('not-found', `no request ${id} waits`, { details: { id } });
    return row;
  }

  async #view(row: Selectable<WaitingRow>): Promise<WaitingRequest> {
    const { db } = this.#store;
    const { kind, architecture, rank, seq } = row;
    const { count } = await db
      .selectFrom('waiting')
      .select(({ fn }) => fn.countAll().as('count'))
      .where('kind', '=', kind)
      .where('architecture', '=', architecture)
      .where('state', '=', 'waiting')
      .where((eb) => eb.or([eb('rank', '<', rank), eb.and([eb('rank', '=', rank), eb('seq', '<', seq)])]))
      .executeTakeFirstOrThrow();
    const shape = await db
      .selectFrom('waiting_shapes')
      .select('request')
      .where('id', '=', row.shape)
      .executeTakeFirst();
    const waitMs =
      shape && (await estimateWait(db, JSON.parse(shape.request) as CapacityRequest, this.#clock.now(), { rank, seq }));
    return {
      id: row.id,
      kind: kind as ResourceKind,
      architecture: architecture as Architecture,
      holder: row.holder,
      ...(row.waiter !== null && { workId: row.waiter }),
      priority: row.priority,
      enqueuedAt: row.enqueued_at,
      ...(row.deadline_at !== null && { deadlineAt: row.deadline_at }),
      position: Number(count) + 1,
      ...(waitMs !== undefined && { estimatedWaitTime: waitMs / 1000 }),
      ...(row.held_id !== null && { heldBackId: row.held_id }),
    };
  }
}
