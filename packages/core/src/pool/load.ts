import type { Selectable } from 'kysely';
import type { ResourceRow } from '../store/schema.ts';

/** The figures of a resource that tell how much of it is used. */
export type UseFigures = Pick<
  Selectable<ResourceRow>,
  | 'slots_used'
  | 'slots_total'
  | 'cpu_used'
  | 'cpu_total'
  | 'memory_mb_used'
  | 'memory_mb_total'
  | 'storage_gb_used'
  | 'storage_gb_total'
>;

/** The most used of the four, 0…1. */
export function loadOf(row: UseFigures): number {
  return Math.max(
    share(row.slots_used, row.slots_total),
    share(row.cpu_used, row.cpu_total),
    share(row.memory_mb_used, row.memory_mb_total),
    share(row.storage_gb_used, row.storage_gb_total),
  );
}

/** A resource without, say, any memory figure counts as unloaded there. */
function share(used: number, total: number): number {
  return total === 0 ? 0 : used / total;
}
