import type { Selectable } from 'kysely';
import { limits } from '../limits.ts';
import type { Rejection, UnmetRequirement } from '../model/requirements.ts';
import { blockedBy } from '../pool/kind.ts';
import type { CapacityRequest } from '../pool/reservations.ts';
import { architecturesOf, leastLoaded } from '../pool/suitable.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Store } from '../store/store.ts';

/**
 * Why resources of the kind don't fit right now, the closest first. Looks at no more than
 * {@link limits.pageSize} of them: an explanation is for a person. `refusals`: what policies and
 * strategies said, by resource.
 */
export async function explain(
  store: Store,
  request: CapacityRequest,
  refusals: ReadonlyMap<string, UnmetRequirement> = new Map(),
): Promise<Rejection[]> {
  const rows = await toExplain(store, request);
  const ids = rows.map((row) => row.id);
  const traits = await gather(
    ids.length === 0 ? [] : await store.db.selectFrom('traits').selectAll().where('resource_id', 'in', ids).execute(),
    (row) => row.trait,
  );
  return rows
    .map((row) => {
      const rejection = reject(row, request, traits.get(row.id) ?? new Set());
      const refused = refusals.get(row.id);
      return refused === undefined ? rejection : { ...rejection, reasons: [...rejection.reasons, refused] };
    })
    .filter((rejection) => rejection.reasons.length > 0)
    .sort(
      (a, b) => Number(b.temporary) - Number(a.temporary) || a.reasons.length - b.reasons.length || gapOf(a) - gapOf(b),
    );
}

/** How far a resource is from fitting: the shares that are missing, and 1 for each plain no. */
function gapOf({ reasons }: Rejection): number {
  return reasons.reduce((sum, { wanted, best }) => {
    return sum + (typeof wanted === 'number' && typeof best === 'number' ? (wanted - best) / wanted : 1);
  }, 0);
}

/** Those that serve the architecture first, for they are the nearest. */
async function toExplain({ db }: Store, request: CapacityRequest): Promise<Selectable<ResourceRow>[]> {
  const ofKind = db.selectFrom('resources').selectAll().where('kind', '=', request.kind);
  if (request.only !== undefined) return ofKind.where('id', '=', request.only).execute();
  const rows: Selectable<ResourceRow>[] = [];
  for (const open of [1, 0]) {
    rows.push(
      ...(await leastLoaded(db, request.architecture, limits.pageSize - rows.length, (set) =>
        ofKind
          .where('architectures', '=', set)
          .where('open', '=', open)
          .orderBy('load')
          .orderBy('id')
          .limit(limits.pageSize - rows.length)
          .execute(),
      )),
    );
    if (rows.length >= limits.pageSize) return rows;
  }
  const known = rows.map(({ id }) => id);
  const others = ofKind.$if(known.length > 0, (query) => query.where('id', 'not in', known));
  rows.push(
    ...(await others
      .orderBy('id')
      .limit(limits.pageSize - rows.length)
      .execute()),
  );
  return rows;
}

async function gather<R extends { resource_id: string }>(
  rows: readonly R[],
  value: (row: R) => string,
): Promise<Map<string, Set<string>>> {
  const sets = new Map<string, Set<string>>();
  for (const row of rows) sets.set(row.resource_id, (sets.get(row.resource_id) ?? new Set()).add(value(row)));
  return sets;
}

function reject(row: Selectable<ResourceRow>, request: CapacityRequest, traits: ReadonlySet<string>): Rejection {
  const offered = architecturesOf(row);
  const lasting: UnmetRequirement[] = [];
  const passing: UnmetRequirement[] = [];
  if (request.exclude?.includes(row.id) === true) {
    lasting.push({ requirement: 'untried', wanted: true, message: 'it was tried before and failed' });
  }
  if (!offered.has(request.architecture)) {
    lasting.push({
      requirement: 'architecture',
      wanted: request.architecture,
      ...(offered.size > 0 && { best: [...offered].join(', ') }),
      message: `it serves ${[...offered].join(', ') || 'no architecture'}, not ${request.architecture}`,
    });
  }
  for (const group of request.traits) {
    if (group.some(({ trait }) => traits.has(trait))) continue;
    const first = group[0];
    if (first === undefined) continue;
    const wanted = group.map((option) => String(option.wanted)).join(' or ');
    const best = labelOf(row, first.requirement);
    const said = best === undefined ? 'is not' : `is ${best}, not`;
    const message = `${first.requirement} ${said} ${wanted}`;
    lasting.push({ requirement: first.requirement, wanted, ...(best !== undefined && { best }), message });
  }
  const amounts = [
    ['cpuCores', request.use.cpu, request.minimum.cpu, row.cpu_total, row.cpu_used],
    ['memoryMb', request.use.memoryMb, request.minimum.memoryMb, row.memory_mb_total, row.memory_mb_used],
    ['storageGb', request.use.storageGb, request.minimum.storageGb, row.storage_gb_total, row.storage_gb_used],
    ['slots', request.use.slots, 0, row.slots_total, row.slots_used],
  ] as const;
  for (const [requirement, use, minimum, total, used] of amounts) {
    const wanted = Math.max(use, minimum);
    if (total < wanted) {
      lasting.push({ requirement, wanted, best: total, message: `it has ${total} ${requirement}, not ${wanted}` });
    } else if (total - used < use) {
      const best = total - used;
      passing.push({
        requirement,
        wanted: use,
        best,
        message: `${best} of ${total} ${requirement} are free, not ${use}`,
      });
    }
  }
  if (row.maintenance === 1)
    passing.push({ requirement: 'maintenance', wanted: false, message: 'it is in maintenance' });
  if (row.status !== 'online' && row.status !== 'degraded') {
    passing.push({ requirement: 'status', wanted: 'online', best: row.status, message: `it is ${row.status}` });
  }
  if (row.held_rank !== null && row.slots_used < row.slots_total) {
    passing.push({
      requirement: 'turn',
      wanted: true,
      message: 'it is held back for a request that has waited longer',
    });
  }
  for (const word of blockedBy(row)) {
    passing.push({ requirement: word, wanted: true, message: `nothing new goes there because of its ${word}` });
  }
  return { resourceId: row.id, name: row.name, reasons: [...lasting, ...passing], temporary: lasting.length === 0 };
}

/** What the resource has for a label that was asked for. */
function labelOf(row: Pick<Selectable<ResourceRow>, 'labels'>, requirement: string): string | undefined {
  if (!requirement.startsWith('label:')) return undefined;
  return (JSON.parse(row.labels) as Record<string, string>)[requirement.slice('label:'.length)];
}
