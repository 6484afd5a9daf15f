// The SQL that every reservation and every release runs, see reservations.ts.
import {
  sql,
  type ExpressionBuilder,
  type InsertResult,
  type RawBuilder,
  type Selectable,
  type UpdateResult,
} from 'kysely';
import { prepared, type Bind, type PreparedQuery } from '../store/prepared.ts';
import type { ReservationRow, ResourceRow } from '../store/schema/pool.ts';
import type { Schema } from '../store/schema.ts';

type Amount = 'slots' | 'cpu' | 'memory_mb' | 'storage_gb';

/** What is asked of a resource, and by whom, as the rows know it. */
export interface TakeValues {
  readonly id: string;
  readonly kind: string;
  readonly rank: number;
  readonly slots: number;
  readonly cpu: number;
  readonly memory_mb: number;
  readonly storage_gb: number;
  readonly min_cpu: number;
  readonly min_memory_mb: number;
  readonly min_storage_gb: number;
}

/** Takes capacity off a resource that has it, and gives it with its new fence; no row when it has not. */
export const takeCapacity: PreparedQuery<TakeValues, Selectable<ResourceRow>> = prepared((db, p: Bind<TakeValues>) => {
  const used = (amount: Amount): RawBuilder<number> => sql<number>`(${sql.ref(`${amount}_used`)} + ${p(amount)})`;
  const hasFree = (amount: Amount) =>
    sql<boolean>`${sql.ref(`${amount}_total`)} - ${sql.ref(`${amount}_used`)} >= ${p(amount)}`;
  return db
    .updateTable('resources')
    .set((eb) => ({
      slots_used: used('slots'),
      cpu_used: used('cpu'),
      memory_mb_used: used('memory_mb'),
      storage_gb_used: used('storage_gb'),
      fence: eb('fence', '+', 1),
    }))
    .where('id', '=', p('id'))
    .where('kind', '=', p('kind'))
    .where('status', 'in', ['online', 'degraded'])
    .where('blocked', 'is', null)
    .where('maintenance', '=', 0)
    .where((eb) => eb.or([eb('held_rank', 'is', null), eb('held_rank', '>=', p('rank'))]))
    .where(hasFree('slots'))
    .where(hasFree('cpu'))
    .where(hasFree('memory_mb'))
    .where(hasFree('storage_gb'))
    .where('cpu_total', '>=', p('min_cpu'))
    .where('memory_mb_total', '>=', p('min_memory_mb'))
    .where('storage_gb_total', '>=', p('min_storage_gb'))
    .returningAll();
});

/**
 * Sets what a resource's active reservations use of it. Summed anew instead of subtracted: fractions
 * of gigabytes would leave crumbs.
 */
export const recountCapacity: PreparedQuery<{ id: string }, UpdateResult> = prepared((db, p: Bind<{ id: string }>) => {
  const sum = (eb: ExpressionBuilder<Schema, 'reservations'>, amount: Amount) =>
    eb.fn.coalesce(eb.fn.sum<number>(amount), sql<number>`0`).as(`${amount}_held`);
  const held = (amount: Amount): RawBuilder<number> => sql<number>`${sql.ref(`held.${amount}_held`)}`;
  return db
    .updateTable('resources')
    .from((eb) =>
      eb
        .selectFrom('reservations')
        .select((inner) => [sum(inner, 'slots'), sum(inner, 'cpu'), sum(inner, 'memory_mb'), sum(inner, 'storage_gb')])
        .where('resource_id', '=', p('id'))
        .as('held'),
    )
    .set({
      slots_used: held('slots'),
      cpu_used: held('cpu'),
      memory_mb_used: held('memory_mb'),
      storage_gb_used: held('storage_gb'),
    })
    .where('id', '=', p('id'));
});

/** The record of a reservation that was taken. */
export interface ReservationValues {
  readonly id: string;
  readonly resource_id: string;
  readonly holder: string;
  readonly slots: number;
  readonly cpu: number;
  readonly memory_mb: number;
  readonly storage_gb: number;
  readonly fence: number;
  readonly expires_at: number;
  readonly lease_ms: number;
  readonly expected_end_at: number | null;
  readonly created_at: number;
}

export const addReservation: PreparedQuery<ReservationValues, InsertResult> = prepared(
  (db, p: Bind<ReservationValues>) =>
    db
      .insertInto('reservations')
      .values({
        id: p('id'),
        resource_id: p('resource_id'),
        holder: p('holder'),
        slots: p('slots'),
        cpu: p('cpu'),
        memory_mb: p('memory_mb'),
        storage_gb: p('storage_gb'),
        fence: p('fence'),
        expires_at: p('expires_at'),
        lease_ms: p('lease_ms'),
        expected_end_at: p('expected_end_at'),
        created_at: p('created_at'),
      }),
);

/** Ends a reservation that has not ended; no row when it has. What it was is told by the events. */
export const endReservation: PreparedQuery<
  { id: string },
  Pick<ReservationRow, 'id' | 'resource_id' | 'holder'>
> = prepared((db, p: Bind<{ id: string }>) =>
  db.deleteFrom('reservations').where('id', '=', p('id')).returning(['id', 'resource_id', 'holder']),
);
