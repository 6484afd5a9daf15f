import type { ResourceKind } from '../model/resource.ts';
import type { StoreTransaction } from '../store/store.ts';
import { blockedBy } from './kind.ts';
import { offerToWaiting } from './reservations.ts';

/** What is stored of a resource's health; maintenance and use are kept apart from it. */
export type StoredStatus = 'online' | 'degraded' | 'offline' | 'unknown' | 'flashing' | 'recovery';

/** In these, new work may be allocated unless something blocks it. */
export const allocatable: readonly StoredStatus[] = ['online', 'degraded'];

/** A change of what is known of a resource. Only what is given changes. */
export interface StatusChange {
  readonly status?: StoredStatus;
  /** Why, for a person. */
  readonly reason?: string;
  /**
   * All words for why nothing new may be allocated, such as `disk`; empty for nothing. Who knows only of
   * some uses `block` and `unblock`.
   */
  readonly blockedBy?: readonly string[];
  /** Words to add to those. */
  readonly block?: readonly string[];
  /** Words to take from those. */
  readonly unblock?: readonly string[];
  readonly now: number;
}

/**
 * Stores what has become of a resource, tells of it, and offers it to those who wait when there may be more of it. Gives the status it had; undefined when it is gone.
 */
export async function changeStatus(
  tx: StoreTransaction,
  id: string,
  change: StatusChange,
): Promise<StoredStatus | undefined> {
  const before = await tx.db
    .selectFrom('resources')
    .select(['kind', 'name', 'status', 'blocked'])
    .where('id', '=', id)
    .executeTakeFirst();
  if (before === undefined) return undefined;
  const from = before.status as StoredStatus;
  const status = change.status ?? from;
  const blocked = blockedAfter(before, change);
  if (status === from && blocked === before.blocked) return from;
  await tx.db
    .updateTable('resources')
    .set({
      status,
      blocked,
      updated_at: change.now,
      ...(status !== from && { status_since: change.now, status_reason: change.reason ?? null }),
    })
    .where('id', '=', id)
    .execute();
  const kind = before.kind as ResourceKind;
  if (status !== from) {
    const { name } = before;
    await tx.emit('resource:status', id, { id, kind, name, from, status, reason: change.reason ?? '' });
  } else {
    await tx.emit('resource:updated', id, { id, kind, name: before.name });
  }
  if (blocked === null && allocatable.includes(status)) offerToWaiting(tx, id);
  return from;
}

function blockedAfter(before: { readonly blocked: string | null }, change: StatusChange): string | null {
  const { blockedBy: all = blockedBy(before), block = [], unblock = [] } = change;
  const words = new Set([...all, ...block]);
  for (const word of unblock) words.delete(word);
  return words.size === 0 ? null : JSON.stringify([...words]);
}
