import type { Selectable } from 'kysely';
import type { Architecture } from '../model/architecture.ts';
import type { ResourceKind } from '../model/resource.ts';
import type { ReservationRow, ResourceRow } from '../store/schema/pool.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { limits } from '../limits.ts';
import { BringupError } from '../errors.ts';
import type { FarTimes } from '../store/far-times.ts';
import { addReservation, endReservation, recountCapacity, takeCapacity } from './reservation-queries.ts';

/** A yes/no property that is asked for, and how a person would name it. */
export interface RequiredTrait {
  readonly trait: string;
  /** Such as `label:rack` or `toolchain`. */
  readonly requirement: string;
  readonly wanted: string | boolean;
}

/** What is asked of one resource, whatever its kind. */
export interface CapacityRequest {
  readonly kind: ResourceKind;
  readonly architecture: Architecture;
  /** Each group must be met by at least one of its traits. */
  readonly traits: readonly (readonly RequiredTrait[])[];
  /** Taken off the resource until the release. */
  readonly use: { readonly slots: number; readonly cpu: number; readonly memoryMb: number; readonly storageGb: number };
  /** What the resource must have in all, whoever uses it. */
  readonly minimum: { readonly cpu: number; readonly memoryMb: number; readonly storageGb: number };
  /** This one or none. */
  readonly only?: string;
  /** This one if it fits. */
  readonly preferred?: string;
  /** None of these: they were tried, and failed. */
  readonly exclude?: readonly string[];
  /** What a build builds: where that was quick before is better. */
  readonly repository?: string;
  /** The firmware a board is to run: one that runs it already is better. */
  readonly firmwareVersion?: string;
  /** One of this group. Its resources have the trait `group:ID`. */
  readonly groupId?: string;
  /** The team it is for, as policies know it. */
  readonly team?: string;
  /** Who asks, as policies know them. */
  readonly requester?: string;
}

/** A lease on capacity. Times are milliseconds since the Unix epoch. */
export interface Reservation {
  readonly id: string;
  readonly resourceId: string;
  readonly holder: string;
  /** Grows with each reservation of the resource; the highest one is the valid one. */
  readonly fence: number;
  /** Ends then unless it is renewed; work renews its own. */
  readonly expiresAt: number;
  /** When its holder is expected to give it back. */
  readonly expectedEndAt?: number;
}

/** A row as everybody may see it. */
export function toReservation(row: Selectable<ReservationRow>): Reservation {
  return {
    id: row.id,
    resourceId: row.resource_id,
    holder: row.holder,
    fence: row.fence,
    expiresAt: row.expires_at,
    ...(row.expected_end_at !== null && { expectedEndAt: row.expected_end_at }),
  };
}

/** A reservation that was granted, and the resource with it. */
export interface Grant {
  readonly reservation: Reservation;
  readonly resource: Selectable<ResourceRow>;
}

/** A lease as it is asked for. */
export interface NewLease {
  readonly id: string;
  readonly resourceId: string;
  readonly holder: string;
  readonly now: number;
  /** Its turn among those who wait; the lowest is first. Default `now`. */
  readonly rank?: number;
  /** How long it will be held, as far as anybody knows. */
  readonly expectedMs?: number;
}

/**
 * Takes capacity of one resource if, at this moment, it is online, not blocked, not in maintenance, not
 * held back for somebody else, and has enough of everything. All of it or nothing.
 */
export async function reserve(
  tx: StoreTransaction,
  request: CapacityRequest,
  lease: NewLease,
): Promise<Grant | undefined> {
  const { use, minimum } = request;
  const { rank = lease.now, expectedMs } = lease;
  const amounts = { slots: use.slots, cpu: use.cpu, memory_mb: use.memoryMb, storage_gb: use.storageGb };
  const taken = await takeCapacity.first(tx.db, {
    ...amounts,
    id: lease.resourceId,
    kind: request.kind,
    rank,
    min_cpu: minimum.cpu,
    min_memory_mb: minimum.memoryMb,
    min_storage_gb: minimum.storageGb,
  });
  if (taken === undefined) return undefined;
  const expiresAt = lease.now + limits.reservationMs;
  await addReservation.send(tx.db, {
    ...amounts,
    id: lease.id,
    resource_id: lease.resourceId,
    holder: lease.holder,
    fence: taken.fence,
    expires_at: expiresAt,
    lease_ms: limits.reservationMs,
    expected_end_at: expectedMs === undefined ? null : lease.now + expectedMs,
    created_at: lease.now,
  });
  await tx.emit('reservation:granted', lease.id, {
    id: lease.id,
    resourceId: lease.resourceId,
    holder: lease.holder,
    fence: taken.fence,
  });
  return {
    resource: taken,
    reservation: {
      id: lease.id,
      resourceId: lease.resourceId,
      holder: lease.holder,
      fence: taken.fence,
      expiresAt,
      ...(expectedMs !== undefined && { expectedEndAt: lease.now + expectedMs }),
    },
  };
}

/** Gives capacity back. Harmless when it was given back before. */
export async function release(
  tx: StoreTransaction,
  reservationId: string,
  how: 'released' | 'expired' = 'released',
): Promise<void> {
  const ended = await endReservation.first(tx.db, { id: reservationId });
  if (ended === undefined) return;
  await recountCapacity.send(tx.db, { id: ended.resource_id });
  await tx.emit(`reservation:${how}`, ended.id, { id: ended.id, resourceId: ended.resource_id, holder: ended.holder });
  offerToWaiting(tx, ended.resource_id);
}

/** Has what a resource can give now, or soon again, offered to those who wait, before the commit. */
export function offerToWaiting(tx: StoreTransaction, resourceId: string): void {
  tx.beforeCommit('capacity', resourceId);
}

/** When a reservation is to end: `leaseMs` from now. */
export interface NewExpiry {
  readonly now: number;
  readonly leaseMs: number;
  readonly expectedEndAt?: number;
}

/**
 * Sets when a reservation ends unless it is renewed, and when it is expected to be given back.
 * @throws `lease-lost` when it has ended.
 */
export async function extend(
  { db }: StoreTransaction,
  reservationId: string,
  { now, leaseMs, expectedEndAt }: NewExpiry,
): Promise<void> {
  const updated = await db
    .updateTable('reservations')
    .set({
      expires_at: now + leaseMs,
      lease_ms: leaseMs,
      ...(expectedEndAt !== undefined && { expected_end_at: expectedEndAt }),
    })
    .where('id', '=', reservationId)
    .executeTakeFirst();
  if (updated.numUpdatedRows !== 1n) {
    throw new BringupError('lease-lost', `reservation ${reservationId} has ended`, { details: { reservationId } });
  }
}

/**
 * Ends the leases that were written by a clock that is ahead and that nobody has renewed for their length: who dies
 * with such a clock keeps nothing until that time comes here, too.
 */
export async function endFarLeases(store: Store, far: FarTimes, now: number): Promise<void> {
  const rows = await store.db
    .selectFrom('reservations')
    .select(['id', 'expires_at', 'lease_ms'])
    .where((eb) => eb(eb('expires_at', '-', eb.ref('lease_ms')), '>', now + limits.clockMarginMs))
    .limit(limits.pageSize)
    .execute();
  const times = rows.map(({ id, expires_at, lease_ms }) => ({ key: id, at: expires_at, lengthMs: lease_ms }));
  const passed = far.passed(times);
  if (passed.length === 0) return;
  await store.transaction(async ({ db }) => {
    for (const { key, at } of passed) {
      await db
        .updateTable('reservations')
        .set({ expires_at: now })
        .where('id', '=', key)
        .where('expires_at', '=', at)
        .execute();
    }
  });
}

/**
 * Renews the reservations of work that is not finished, and gives those that have run out. As long
 * as work goes on, or waits to be gone on with, what it holds is held; nobody else's promise keeps
 * a resource.
 */
export async function renewHeld(store: Store, now: number): Promise<Selectable<ReservationRow>[]> {
  const { db } = store;
  const due = await db
    .selectFrom('reservations')
    .select('id')
    .where('expires_at', '<=', now + limits.reservationMs / 2)
    .limit(1)
    .executeTakeFirst();
  if (due === undefined) return [];
  return store.transaction(async (tx) => {
    await tx.db
      .updateTable('reservations')
      .set({ expires_at: now + limits.reservationMs, lease_ms: limits.reservationMs })
      .where('expires_at', '<=', now + limits.reservationMs / 2)
      .where('holder', 'in', (eb) =>
        eb.selectFrom('work_items').select('id').where('state', 'in', ['queued', 'running', 'waiting']),
      )
      .execute();
    return tx.db.selectFrom('reservations').selectAll().where('expires_at', '<=', now).limit(limits.pageSize).execute();
  });
}
