import { sql } from 'kysely';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { boardStatus } from '../pool/kinds/board.ts';
import type { EventFeed } from '../store/feed.ts';
import type { Store } from '../store/store.ts';
import type { GaugeKey } from '../telemetry/instruments.ts';
import type { Reading } from '../telemetry/tally.ts';

/** Gauges that {@link Figures} reads. */
export const figureGauges: readonly GaugeKey[] = [
  'workCount',
  'workQueueAge',
  'leaseCount',
  'resourceCount',
  'waitingCount',
  'alertCount',
  'storeReachable',
  'eventLag',
  'logSize',
];

/** What figures are read from. */
export interface FigureSources {
  readonly store: Store;
  readonly events: EventFeed;
  readonly clock: Clock;
}

/** How the lab stands, in numbers, read at most every `limits.metricGaugesMs` however many ask. */
export class Figures {
  readonly #sources: FigureSources;
  #latest: { readonly at: number; readonly readings: Promise<readonly Reading[]> } | undefined;
  #logSize: { readonly at: number; readonly bytes: number } | undefined;

  constructor(sources: FigureSources) {
    this.#sources = sources;
  }

  /** The readings of all gauges; that there are no others when the store is out of reach. */
  read(): Promise<readonly Reading[]> {
    const now = this.#sources.clock.now();
    if (this.#latest !== undefined && now - this.#latest.at < limits.metricGaugesMs) return this.#latest.readings;
    const readings = this.#readNow(now).catch((error: unknown) => {
      // The lab is closed: whoever asks has made a mistake.
      if (error instanceof TypeError) throw error;
      return [reading('storeReachable', 0)];
    });
    this.#latest = { at: now, readings };
    return readings;
  }

  async #readNow(now: number): Promise<readonly Reading[]> {
    const { store, events } = this.#sources;
    const work = await workByKind(store);
    const running = work.filter(({ state }) => state === 'running').reduce((sum, { items }) => sum + items, 0);
    return [
      ...work.map(({ kind, state, items }) =>
        reading('workCount', items, { 'bringup.work.kind': kind, 'bringup.work.state': state }),
      ),
      ...work.flatMap(({ kind, oldest }) =>
        oldest === null
          ? []
          : [reading('workQueueAge', Math.max(0, now - oldest) / 1000, { 'bringup.work.kind': kind })],
      ),
      ...(await leases(store, now, running)),
      ...(await resources(store)),
      ...(await waiting(store)),
      ...(await alerts(store)),
      reading('storeReachable', 1),
      reading('eventLag', await events.lag()),
      reading('logSize', await this.#logBytes(now)),
    ];
  }

  async #logBytes(now: number): Promise<number> {
    if (this.#logSize === undefined || now - this.#logSize.at >= limits.metricLogSizeMs) {
      const row = await this.#sources.store.db
        .selectFrom('logs')
        .select((eb) => eb.fn.sum<number | null>('size_bytes').as('bytes'))
        .executeTakeFirst();
      this.#logSize = { at: now, bytes: Number(row?.bytes ?? 0) };
    }
    return this.#logSize.bytes;
  }
}

function reading(gauge: GaugeKey, value: number, attributes: Reading['attributes'] = {}): Reading {
  return { gauge, value, attributes };
}

/** Unfinished work of one kind in one state. */
interface WorkFigure {
  readonly kind: string;
  readonly state: string;
  readonly items: number;
  /** When the oldest of those that are queued and were never started was submitted. */
  readonly oldest: number | null;
}

async function workByKind({ db }: Store): Promise<readonly WorkFigure[]> {
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('work_items')
        .select(['kind', 'state', 'started_at', 'created_at'])
        .where('state', 'in', ['queued', 'running', 'waiting'])
        .limit(limits.metricRows)
        .as('unfinished'),
    )
    .select((eb) => [
      'kind',
      'state',
      eb.fn.countAll<number>().as('items'),
      sql<number | null>`min(case when started_at is null then created_at end)`.as('oldest'),
    ])
    .groupBy(['kind', 'state'])
    .execute();
  return rows.map((row) => ({
    ...row,
    items: Number(row.items),
    oldest: row.oldest === null ? null : Number(row.oldest),
  }));
}

async function leases({ db }: Store, now: number, running: number): Promise<readonly Reading[]> {
  const count = sql<number>`count(*)`;
  const { reserved } = await db
    .selectFrom('reservations')
    .select(count.as('reserved'))
    .where('expires_at', '>', now)
    .executeTakeFirstOrThrow();
  const { shards } = await db
    .selectFrom('monitor_leases')
    .select(count.as('shards'))
    .where('lease_until', '>', now)
    .executeTakeFirstOrThrow();
  const held = { work_item: running, reservation: Number(reserved), health_shard: Number(shards) };
  return Object.entries(held).map(([type, value]) => reading('leaseCount', value, { 'bringup.lease.type': type }));
}

async function resources({ db }: Store): Promise<readonly Reading[]> {
  const used = sql<number>`case when slots_used > 0 then 1 else 0 end`;
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('resources')
        .select(['kind', 'status', 'maintenance', used.as('slots_used')])
        .limit(limits.metricRows)
        .as('known'),
    )
    .select((eb) => ['kind', 'status', 'maintenance', 'slots_used', eb.fn.countAll<number>().as('resources')])
    .groupBy(['kind', 'status', 'maintenance', 'slots_used'])
    .execute();
  const counts = new Map<string, { readonly kind: string; readonly status: string; resources: number }>();
  for (const row of rows) {
    const status = row.kind === 'board' ? boardStatus(row) : row.maintenance === 1 ? 'maintenance' : row.status;
    const key = `${row.kind} ${status}`;
    const counted = counts.get(key) ?? { kind: row.kind, status, resources: 0 };
    counts.set(key, counted);
    counted.resources += Number(row.resources);
  }
  return [...counts.values()].map(({ kind, status, resources: value }) =>
    reading('resourceCount', value, { 'bringup.resource.kind': kind, 'bringup.resource.status': status }),
  );
}

async function waiting({ db }: Store): Promise<readonly Reading[]> {
  const rows = await db
    .selectFrom('waiting_shapes')
    .select((eb) => ['kind', eb.fn.sum<number>('waiting').as('requests')])
    .groupBy('kind')
    .execute();
  return rows.map(({ kind, requests }) => reading('waitingCount', Number(requests), { 'bringup.resource.kind': kind }));
}

async function alerts({ db }: Store): Promise<readonly Reading[]> {
  const rows = await db
    .selectFrom((eb) =>
      eb
        .selectFrom('alerts')
        .select('severity')
        .where('state', 'in', ['open', 'acknowledged'])
        .limit(limits.metricRows)
        .as('present'),
    )
    .select((eb) => ['severity', eb.fn.countAll<number>().as('alerts')])
    .groupBy('severity')
    .execute();
  return rows.map(({ severity, alerts: value }) =>
    reading('alertCount', Number(value), { 'bringup.alert.severity': severity }),
  );
}
