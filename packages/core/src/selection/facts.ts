import type { CapacityRequest } from '../pool/reservations.ts';
import { firmwareTrait } from '../pool/kinds/board.ts';
import type { Store } from '../store/store.ts';
import { buildTimesOn } from './build-times.ts';
import type { CandidateFacts } from './strategy.ts';

type Db = Pick<Store['db'], 'selectFrom'>;

/** What is known of candidates for this very request: learned build times, and who needs flashing. */
export async function factsOf(
  db: Db,
  request: CapacityRequest,
  ids: readonly string[],
): Promise<ReadonlyMap<string, CandidateFacts>> {
  const { architecture, repository, firmwareVersion } = request;
  if (repository !== undefined) {
    const times = await buildTimesOn(db, { repository, architecture }, ids);
    return new Map([...times].map(([id, expectedSeconds]) => [id, { expectedSeconds }]));
  }
  if (firmwareVersion !== undefined) {
    const running = await runningFirmware(db, firmwareVersion, ids);
    return new Map(ids.map((id) => [id, { requiresFlashing: !running.has(id) }]));
  }
  return new Map();
}

/** Which of these boards run a firmware. */
export async function runningFirmware(db: Db, version: string, ids: readonly string[]): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const rows = await db
    .selectFrom('traits')
    .select('resource_id')
    .where('trait', '=', firmwareTrait(version))
    .where('resource_id', 'in', ids)
    .execute();
  return new Set(rows.map((row) => row.resource_id));
}
