import * as v from 'valibot';
import type { CallOptions } from '../contracts/runtime.ts';
import { countField, idField, millisecondsField } from '../model/fields.ts';
import type { ListOptions } from '../model/page.ts';
import { resourceKinds, type ResourceKind } from '../model/resource.ts';
import { priorityField } from './schema.ts';

/** How a resource is chosen. */
export interface SelectOptions {
  /** On whose behalf it is reserved at once. Default: nobody; it is only looked at. */
  readonly holder?: string;
  /** Default 0. */
  readonly priority?: number;
  /** How long it will be held, as far as anybody knows. */
  readonly expectedMs?: number;
}

/** As {@link SelectOptions}, when it is to be reserved. */
export type ReserveOptions = SelectOptions & { readonly holder: string };

/** How capacity is asked for. `timeoutMs`: how long to wait for it, default {@link Limits.waitingMs}. */
export interface RequestOptions extends CallOptions {
  /** On whose behalf it is held: the id of a work item, or any name. */
  readonly holder: string;
  /** Higher goes first; a point is worth having asked ten minutes earlier. Default 0. */
  readonly priority?: number;
  /** How long it will be held, as far as anybody knows: what others' waits are estimated from. */
  readonly expectedMs?: number;
  /** It ends after this unless it is renewed. Default {@link Limits.reservationMs}. */
  readonly leaseMs?: number;
  /** The id of an earlier request, to go on waiting in its place, or to have what it was granted meanwhile. Default: a new one. */
  readonly id?: string;
}

/** Options of a listing, in the order of ids. */
export interface ReservationListOptions extends ListOptions {
  readonly resourceId?: string;
  readonly holder?: string;
}

/** Options of a listing of the waiting list, in the order of turns. */
export interface WaitingListOptions extends ListOptions {
  readonly kind?: ResourceKind;
  readonly holder?: string;
}

const text = v.string('must be a string');

const leaseFields = { priority: v.exactOptional(priorityField), expectedMs: v.exactOptional(millisecondsField) };

/** Schema of {@link SelectOptions}. */
export const selectOptionsSchema: v.GenericSchema<unknown, SelectOptions> = v.strictObject({
  ...leaseFields,
  holder: v.exactOptional(idField),
});

/** Schema of {@link ReserveOptions}. */
export const reserveOptionsSchema: v.GenericSchema<unknown, ReserveOptions> = v.strictObject({
  ...leaseFields,
  holder: idField,
});

/** Schema of {@link RequestOptions}. */
export const requestOptionsSchema: v.GenericSchema<unknown, RequestOptions> = v.strictObject({
  ...leaseFields,
  holder: idField,
  leaseMs: v.exactOptional(millisecondsField),
  id: v.exactOptional(idField),
  timeoutMs: v.exactOptional(millisecondsField),
  signal: v.exactOptional(v.instance(AbortSignal, 'must be an AbortSignal')),
});

/** Schema of what `renew` takes. */
export const renewSchema: v.GenericSchema<unknown, { id: string; leaseMs?: number; expectedEndAt?: number }> =
  v.strictObject({
    id: idField,
    leaseMs: v.exactOptional(millisecondsField),
    expectedEndAt: v.exactOptional(v.pipe(v.number('must be a number'), v.minValue(0, 'must not be negative'))),
  });

/** Schema of an id that stands alone. */
export const givenIdSchema: v.GenericSchema<unknown, { id: string }> = v.strictObject({ id: idField });

const pageFields = { holder: v.exactOptional(text), after: v.exactOptional(text), limit: v.exactOptional(countField) };

/** Schema of {@link ReservationListOptions}. */
export const reservationListSchema: v.GenericSchema<unknown, ReservationListOptions> = v.strictObject({
  ...pageFields,
  resourceId: v.exactOptional(text),
});

/** Schema of {@link WaitingListOptions}. */
export const waitingListSchema: v.GenericSchema<unknown, WaitingListOptions> = v.strictObject({
  ...pageFields,
  kind: v.exactOptional(v.picklist<readonly ResourceKind[], string>(resourceKinds, 'must be a kind of resource')),
});
