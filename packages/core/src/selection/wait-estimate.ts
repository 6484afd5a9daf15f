import type { Selectable } from 'kysely';
import { limits } from '../limits.ts';
import type { CapacityRequest } from '../pool/reservations.ts';
import { architecturesOf, suitable } from '../pool/suitable.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Store } from '../store/store.ts';

type Db = Pick<Store['db'], 'selectFrom'>;
type Use = CapacityRequest['use'];

/** Somebody in the line: what is asked for, and how long it will be held. */
interface InLine {
  readonly request: CapacityRequest;
  readonly expectedMs: number;
}

interface Room {
  readonly id: string;
  readonly free: { slots: number; cpu: number; memoryMb: number; storageGb: number };
  readonly total: Use;
  readonly architectures: ReadonlySet<string>;
  readonly traits: ReadonlySet<string>;
}

interface End {
  readonly at: number;
  readonly room: Room;
  readonly use: Use;
}

/** Where the asker stands. Default: last. */
export interface Turn {
  readonly rank: number;
  readonly seq: number;
}

/**
 * How long a request will wait, in ms: plays through that the holders of what it could have end when
 * they are expected to, and that what they free goes to those in line in their turn. Undefined when
 * nothing that could fit is in service.
 */
export async function estimateWait(
  db: Db,
  request: CapacityRequest,
  now: number,
  turn: Turn = { rank: Number.MAX_SAFE_INTEGER, seq: Number.MAX_SAFE_INTEGER },
): Promise<number | undefined> {
  const ahead = await lineAhead(db, request.kind, turn);
  const rooms = await roomsFor(db, [request, ...ahead.line.map((one) => one.request)]);
  if (!rooms.some((room) => suits(room, request))) return undefined;
  const ends = await expectedEnds(db, rooms, now);
  const waited = playThrough(rooms, ends, [...ahead.line, { request, expectedMs: 0 }], now);
  // A line too long to play through: the rest of it moves at the same pace.
  return waited === undefined ? undefined : Math.round((waited * (ahead.count + 1)) / (ahead.line.length + 1));
}

/** The first of those whose turn is before. */
async function lineAhead(
  db: Db,
  kind: string,
  { rank, seq }: Turn,
): Promise<{ readonly line: readonly InLine[]; readonly count: number }> {
  const before = db
    .selectFrom('waiting')
    .innerJoin('waiting_shapes', 'waiting_shapes.id', 'waiting.shape')
    .where('waiting.kind', '=', kind)
    .where('waiting.state', '=', 'waiting')
    .where((eb) => eb.or([eb('rank', '<', rank), eb.and([eb('rank', '=', rank), eb('seq', '<', seq)])]));
  const rows = await before
    .select(['waiting_shapes.request', 'waiting.expected_ms'])
    .orderBy('rank')
    .orderBy('seq')
    .limit(limits.waitEstimateRequests)
    .execute();
  const line = rows.map((row) => ({
    request: JSON.parse(row.request) as CapacityRequest,
    expectedMs: row.expected_ms ?? limits.expectedHoldMs,
  }));
  if (rows.length < limits.waitEstimateRequests) return { line, count: line.length };
  const { count } = await before.select(({ fn }) => fn.countAll().as('count')).executeTakeFirstOrThrow();
  return { line, count: Number(count) };
}

/** Resources in service that any of these could have. */
async function roomsFor(db: Db, requests: readonly CapacityRequest[]): Promise<Room[]> {
  const kinds = new Map(requests.map((request) => [JSON.stringify(request), request]));
  const ids = new Set<string>();
  for (const request of [...kinds.values()].slice(0, 8)) {
    const rows = await suitable(db, request)
      .where('resources.status', 'in', ['online', 'degraded'])
      .where('resources.blocked', 'is', null)
      .where('resources.maintenance', '=', 0)
      .orderBy('resources.id')
      .limit(limits.waitEstimateResources)
      .execute();
    for (const { id } of rows) ids.add(id);
  }
  if (ids.size === 0) return [];
  const rows = await db
    .selectFrom('resources')
    .selectAll()
    .where('id', 'in', [...ids])
    .orderBy('id')
    .execute();
  const traits = await db
    .selectFrom('traits')
    .selectAll()
    .where('resource_id', 'in', [...ids])
    .execute();
  return rows.map((row) => ({
    ...figures(row),
    id: row.id,
    traits: new Set(traits.filter(({ resource_id }) => resource_id === row.id).map(({ trait }) => trait)),
    architectures: architecturesOf(row),
  }));
}

function figures(row: Selectable<ResourceRow>): Pick<Room, 'free' | 'total'> {
  return {
    total: {
      slots: row.slots_total,
      cpu: row.cpu_total,
      memoryMb: row.memory_mb_total,
      storageGb: row.storage_gb_total,
    },
    free: {
      slots: row.slots_total - row.slots_used,
      cpu: row.cpu_total - row.cpu_used,
      memoryMb: row.memory_mb_total - row.memory_mb_used,
      storageGb: row.storage_gb_total - row.storage_gb_used,
    },
  };
}

/** When the present holders are expected to give back what they have. */
async function expectedEnds(db: Db, rooms: readonly Room[], now: number): Promise<End[]> {
  const byId = new Map(rooms.map((room) => [room.id, room]));
  const rows = await db
    .selectFrom('reservations')
    .selectAll()
    .where('resource_id', 'in', [...byId.keys()])
    .execute();
  return rows.flatMap((row) => {
    const room = byId.get(row.resource_id);
    if (room === undefined) return [];
    const end = row.expected_end_at ?? row.created_at + limits.expectedHoldMs;
    const use = { slots: row.slots, cpu: row.cpu, memoryMb: row.memory_mb, storageGb: row.storage_gb };
    return [{ room, use, at: end > now ? end : now + limits.expectedOverrunMs }];
  });
}

function suits(room: Room, { architecture, traits, use, minimum, only, exclude = [] }: CapacityRequest): boolean {
  const { total } = room;
  return (
    room.architectures.has(architecture) &&
    (only === undefined || only === room.id) &&
    !exclude.includes(room.id) &&
    total.slots >= use.slots &&
    total.cpu >= Math.max(use.cpu, minimum.cpu) &&
    total.memoryMb >= Math.max(use.memoryMb, minimum.memoryMb) &&
    total.storageGb >= Math.max(use.storageGb, minimum.storageGb) &&
    traits.every((group) => group.some(({ trait }) => room.traits.has(trait)))
  );
}

function hasRoom({ free }: Room, { use }: CapacityRequest): boolean {
  return (
    free.slots >= use.slots && free.cpu >= use.cpu && free.memoryMb >= use.memoryMb && free.storageGb >= use.storageGb
  );
}

function move({ free }: Room, use: Use, sign: 1 | -1): void {
  free.slots += sign * use.slots;
  free.cpu += sign * use.cpu;
  free.memoryMb += sign * use.memoryMb;
  free.storageGb += sign * use.storageGb;
}

/** When the last in line gets something, from now; undefined when it never does. */
function playThrough(rooms: readonly Room[], ends: End[], line: InLine[], now: number): number | undefined {
  const last = line.at(-1);
  let time = now;
  /** Gives what a resource has free to those in line. True when the last one got it. */
  const offer = (room: Room): boolean => {
    for (const one of [...line]) {
      if (room.free.slots <= 0) return false;
      if (!suits(room, one.request) || !hasRoom(room, one.request)) continue;
      if (one === last) return true;
      move(room, one.request.use, -1);
      ends.push({ at: time + one.expectedMs, room, use: one.request.use });
      line.splice(line.indexOf(one), 1);
    }
    return false;
  };
  for (const room of rooms) if (offer(room)) return 0;
  for (;;) {
    ends.sort((a, b) => b.at - a.at);
    const next = ends.pop();
    if (next === undefined) return undefined;
    time = Math.max(time, next.at);
    move(next.room, next.use, 1);
    if (offer(next.room)) return time - now;
  }
}
