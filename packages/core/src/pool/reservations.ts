import { sql, type Selectable } from 'kysely';
import type { Architecture } from '../model/architecture.ts';
import type { ResourceKind } from '../model/resource.ts';
import type { ReservationRow } from '../store/schema.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { limits } from '../limits.ts';
import { BringupError } from '../errors.ts';

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
): Promise<Reservation | undefined> {
  const { use, minimum } = request;
  const { rank = lease.now, expectedMs } = lease;
  const taken = await tx.db
    .updateTable('resources')
    .set((eb) => ({
      slots_used: eb('slots_used', '+', use.slots),
      cpu_used: eb('cpu_used', '+', use.cpu),
      memory_mb_used: eb('memory_mb_used', '+', use.memoryMb),
      storage_gb_used: eb('storage_gb_used', '+', use.storageGb),
      fence: eb('fence', '+', 1),
    }))
    .where('id', '=', lease.resourceId)
    .where('kind', '=', request.kind)
    .where('status', 'in', ['online', 'degraded'])
    .where('blocked', 'is', null)
    .where('maintenance', '=', 0)
    .where((eb) => eb.or([eb('held_rank', 'is', null), eb('held_rank', '>=', rank)]))
    .where(sql<boolean>`slots_total - slots_used >= ${use.slots}`)
    .where(sql<boolean>`cpu_total - cpu_used >= ${use.cpu} and cpu_total >= ${minimum.cpu}`)
    .where(sql<boolean>`memory_mb_total - memory_mb_used >= ${use.memoryMb} and memory_mb_total >= ${minimum.memoryMb}`)
    .where(
      sql<boolean>`storage_gb_total - storage_gb_used >= ${use.storageGb} and storage_gb_total >= ${minimum.storageGb}`,
    )
    .returning('fence')
    .executeTakeFirst();
  if (taken === undefined) return undefined;
  const expiresAt = lease.now + limits.reservationMs;
  await tx.db
    .insertInto('reservations')
    .values({
      id: lease.id,
      resource_id: lease.resourceId,
      holder: lease.holder,
      state: 'active',
      slots: use.slots,
      cpu: use.cpu,
      memory_mb: use.memoryMb,
      storage_gb: use.storageGb,
      fence: taken.fence,
      expires_at: expiresAt,
      expected_end_at: expectedMs === undefined ? null : lease.now + expectedMs,
      created_at: lease.now,
      ended_at: null,
    })
    .execute();
  await refreshOffers(tx, lease.resourceId);
  await tx.emit('reservation:granted', lease.id, {
    id: lease.id,
    resourceId: lease.resourceId,
    holder: lease.holder,
    fence: taken.fence,
  });
  return {
    id: lease.id,
    resourceId: lease.resourceId,
    holder: lease.holder,
    fence: taken.fence,
    expiresAt,
    ...(expectedMs !== undefined && { expectedEndAt: lease.now + expectedMs }),
  };
}

/** Brings what selection walks in line with the resource's row. */
export async function refreshOffers({ db }: StoreTransaction, resourceId: string): Promise<void> {
  // A resource without, say, any memory figure must not divide by zero: it counts as unloaded there.
  const share = (used: string, total: string) =>
    sql<number>`coalesce(1.0 * ${sql.ref(used)} / nullif(${sql.ref(total)}, 0), 0)`;
  const row = await db
    .updateTable('resources')
    .set({
      load: sql<number>`(select max(share) from (
        select ${share('slots_used', 'slots_total')} as share
        union all select ${share('cpu_used', 'cpu_total')}
        union all select ${share('memory_mb_used', 'memory_mb_total')}
        union all select ${share('storage_gb_used', 'storage_gb_total')}) as shares)`,
    })
    .where('id', '=', resourceId)
    .returning(['load', 'status', 'blocked', 'maintenance', 'slots_used', 'slots_total'])
    .executeTakeFirst();
  if (row === undefined) return;
  const fit = (row.status === 'online' || row.status === 'degraded') && row.blocked === null;
  const open = fit && row.maintenance === 0 && row.slots_used < row.slots_total;
  await db
    .updateTable('offers')
    .set({ open: open ? 1 : 0, load: row.load })
    .where('resource_id', '=', resourceId)
    .execute();
}

/** Gives capacity back. Harmless when it was given back before. */
export async function release(
  tx: StoreTransaction,
  reservationId: string,
  now: number,
  state: 'released' | 'expired' = 'released',
): Promise<void> {
  const ended = await tx.db
    .updateTable('reservations')
    .set({ state, ended_at: now })
    .where('id', '=', reservationId)
    .where('state', '=', 'active')
    .returningAll()
    .executeTakeFirst();
  if (ended === undefined) return;
  // Summed anew instead of subtracted: fractions of gigabytes would leave crumbs.
  const held = (column: 'slots' | 'cpu' | 'memory_mb' | 'storage_gb') =>
    sql<number>`(select coalesce(sum(${sql.ref(column)}), 0) from reservations
      where resource_id = ${ended.resource_id} and state = 'active')`;
  await tx.db
    .updateTable('resources')
    .set({
      slots_used: held('slots'),
      cpu_used: held('cpu'),
      memory_mb_used: held('memory_mb'),
      storage_gb_used: held('storage_gb'),
    })
    .where('id', '=', ended.resource_id)
    .execute();
  await refreshOffers(tx, ended.resource_id);
  await tx.emit(`reservation:${state}`, ended.id, {
    id: ended.id,
    resourceId: ended.resource_id,
    holder: ended.holder,
  });
  offerToWaiting(tx, ended.resource_id);
}

/** Has what a resource can give now, or soon again, offered to those who wait, before the commit. */
export function offerToWaiting(tx: StoreTransaction, resourceId: string): void {
  tx.beforeCommit('capacity', resourceId);
}

/**
 * Sets when a reservation ends unless it is renewed, and when it is expected to be given back.
 * @throws `lease-lost` when it has ended.
 */
export async function extend(
  { db }: StoreTransaction,
  reservationId: string,
  expiresAt: number,
  expectedEndAt?: number,
): Promise<void> {
  const updated = await db
    .updateTable('reservations')
    .set({ expires_at: expiresAt, ...(expectedEndAt !== undefined && { expected_end_at: expectedEndAt }) })
    .where('id', '=', reservationId)
    .where('state', '=', 'active')
    .executeTakeFirst();
  if (updated.numUpdatedRows !== 1n) {
    throw new BringupError('lease-lost', `reservation ${reservationId} has ended`, { details: { reservationId } });
  }
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
    .where('state', '=', 'active')
    .where('expires_at', '<=', now + limits.reservationMs / 2)
    .limit(1)
    .executeTakeFirst();
  if (due === undefined) return [];
  return store.transaction(async (tx) => {
    await tx.db
      .updateTable('reservations')
      .set({ expires_at: now + limits.reservationMs })
      .where('state', '=', 'active')
      .where('expires_at', '<=', now + limits.reservationMs / 2)
      .where('holder', 'in', (eb) =>
        eb.selectFrom('work_items').select('id').where('state', 'in', ['queued', 'running', 'waiting']),
      )
      .execute();
    return tx.db
      .selectFrom('reservations')
      .selectAll()
      .where('state', '=', 'active')
      .where('expires_at', '<=', now)
      .limit(limits.pageSize)
      .execute();
  });
}
