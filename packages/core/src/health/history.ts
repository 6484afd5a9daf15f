import type { InsertResult } from 'kysely';
import { limits } from '../limits.ts';
import type { HealthHistoryQuery, HealthSample } from '../model/health-watch.ts';
import { prepared, type Bind, type PreparedQuery } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';

/** One look, short, as it is stored by the dozen: when, whether it was answered, and what it found. */
export type StoredLook = readonly [
  at: number,
  answered: 0 | 1,
  responseTimeMs: number | null,
  cpuPercent: number | null,
  memoryPercent: number | null,
  storagePercent: number | null,
  temperatureCelsius: number | null,
  activity: number | null,
  networkBytesIn: number | null,
  networkBytesOut: number | null,
];

/** The looks at one resource since `at`, as they are stored: thousands wait at a time, and text is small. */
export interface MinuteOfLooks {
  readonly at: number;
  /** A {@link HealthSample}, as JSON. */
  readonly sample: string;
  /** An array of {@link StoredLook}, as JSON. */
  readonly looks: string;
}

const minuteMs = 60_000;
const hourMs = 3_600_000;
const durations = { raw: 0, minute: minuteMs, hour: hourMs } as const;

/** What averages are made of, and what highest values. */
const averaged = [
  'cpuPercent',
  'memoryPercent',
  'storagePercent',
  'temperatureCelsius',
  'responseTimeMs',
  'activity',
] as const;
const highest = ['cpuPercent', 'memoryPercent', 'temperatureCelsius'] as const;

/** One look as a sample. */
export function sampleOfLook(look: StoredLook): HealthSample {
  const [
    at,
    answered,
    responseTimeMs,
    cpuPercent,
    memoryPercent,
    storagePercent,
    temperature,
    activity,
    received,
    sent,
  ] = look;
  return {
    at,
    durationMs: 0,
    looks: 1,
    answered,
    ...(responseTimeMs !== null && { responseTimeMs }),
    ...(cpuPercent !== null && { cpuPercent, cpuPercentMax: cpuPercent }),
    ...(memoryPercent !== null && { memoryPercent, memoryPercentMax: memoryPercent }),
    ...(storagePercent !== null && { storagePercent }),
    ...(temperature !== null && { temperatureCelsius: temperature, temperatureCelsiusMax: temperature }),
    ...(activity !== null && { activity }),
    ...(received !== null && { networkBytesIn: received }),
    ...(sent !== null && { networkBytesOut: sent }),
  };
}

/** Several samples as one: averages are weighed by the looks that were answered. */
export function mergeSamples(samples: readonly HealthSample[], at: number, durationMs: number): HealthSample {
  const merged: { -readonly [K in keyof HealthSample]: HealthSample[K] } = { at, durationMs, looks: 0, answered: 0 };
  for (const { looks, answered } of samples) {
    merged.looks += looks;
    merged.answered += answered;
  }
  for (const name of averaged) {
    let sum = 0;
    let weight = 0;
    for (const sample of samples) {
      const value = sample[name];
      if (value === undefined) continue;
      sum += value * sample.answered;
      weight += sample.answered;
    }
    if (weight > 0) merged[name] = Math.round((sum / weight) * 10) / 10;
  }
  for (const name of highest) {
    const values = samples.map((sample) => sample[`${name}Max`]).filter((value) => value !== undefined);
    if (values.length > 0) merged[`${name}Max`] = Math.max(...values);
  }
  for (const name of ['networkBytesIn', 'networkBytesOut'] as const) {
    const last = samples.findLast((sample) => sample[name] !== undefined)?.[name];
    if (last !== undefined) merged[name] = last;
  }
  return merged;
}

/** Samples put together by the minute or hour they began in, in order. */
function grouped(samples: readonly HealthSample[], durationMs: number): HealthSample[] {
  const groups = new Map<number, HealthSample[]>();
  for (const sample of samples) {
    const at = Math.floor(sample.at / durationMs) * durationMs;
    const group = groups.get(at);
    if (group === undefined) groups.set(at, [sample]);
    else group.push(sample);
  }
  return [...groups].map(([at, group]) => mergeSamples(group, at, durationMs));
}

interface MinuteValues extends MinuteOfLooks {
  readonly id: string;
}

/** Looks as the minute they are stored as. */
export function minuteOf(at: number, looks: readonly StoredLook[]): MinuteOfLooks {
  const sample = mergeSamples(looks.map(sampleOfLook), at, minuteMs);
  return { at, sample: JSON.stringify(sample), looks: JSON.stringify(looks) };
}

/** The looks of a minute. */
export function looksOf({ looks }: Pick<MinuteOfLooks, 'looks'>): readonly StoredLook[] {
  return JSON.parse(looks) as StoredLook[];
}

// Row by row: a statement for each number of rows would stay prepared, and they are large.
const resourceOf: PreparedQuery<{ id: string }, { id: string }> = prepared((db, p: Bind<{ id: string }>) =>
  db.selectFrom('resources').select('id').where('id', '=', p('id')),
);
const insertMinute: PreparedQuery<MinuteValues, InsertResult> = prepared((db, p: Bind<MinuteValues>) =>
  db
    .insertInto('health_history')
    .values({ resource_id: p('id'), resolution: 'minute', at: p('at'), sample: p('sample'), looks: p('looks') })
    // Each row begins with its first look, so no two are the same.
    .onConflict((conflict) => conflict.doNothing()),
);

/** Stores a minute of looks; false when the resource was removed meanwhile. */
export async function storeMinute({ db }: StoreTransaction, id: string, minute: MinuteOfLooks): Promise<boolean> {
  if ((await resourceOf.first(db, { id })) === undefined) return false;
  await insertMinute.run(db, { id, ...minute });
  return true;
}

/** Makes hours of minutes and forgets what is too old: so the rows of a resource are bounded. */
export async function rollUp({ db }: StoreTransaction, resourceId: string, now: number): Promise<void> {
  const last = await db
    .selectFrom('health_history')
    .select((eb) => eb.fn.max('at').as('at'))
    .where('resource_id', '=', resourceId)
    .where('resolution', '=', 'hour')
    .executeTakeFirst();
  const from = last?.at === null || last?.at === undefined ? 0 : last.at + hourMs;
  const minutes = await db
    .selectFrom('health_history')
    .select('sample')
    .where('resource_id', '=', resourceId)
    .where('resolution', '=', 'minute')
    .where('at', '>=', from)
    .where('at', '<', Math.floor(now / hourMs) * hourMs)
    .orderBy('at')
    .execute();
  for (const hour of grouped(
    minutes.map(({ sample }) => JSON.parse(sample) as HealthSample),
    hourMs,
  )) {
    await db
      .insertInto('health_history')
      .values({ resource_id: resourceId, resolution: 'hour', at: hour.at, sample: JSON.stringify(hour), looks: null })
      .execute();
  }
  await db
    .updateTable('health_history')
    .set({ looks: null })
    .where('resource_id', '=', resourceId)
    .where('resolution', '=', 'minute')
    .where('at', '<', now - limits.healthLooksKeptMs)
    .where('looks', 'is not', null)
    .execute();
  for (const [resolution, keptMs] of [
    ['minute', limits.healthMinutesKeptMs],
    ['hour', limits.healthHoursKeptMs],
  ] as const) {
    await db
      .deleteFrom('health_history')
      .where('resource_id', '=', resourceId)
      .where('resolution', '=', resolution)
      .where('at', '<', now - keptMs)
      .execute();
  }
}

/**
 * What is kept of a resource between two times, oldest first, at most {@link limits.healthHistorySamples}.
 *
 * @param unwritten - looks that this process has not stored yet.
 */
export async function readHistory(
  { db }: Store,
  resourceId: string,
  { from = 0, to, resolution = 'minute' }: HealthHistoryQuery,
  { now, unwritten }: { readonly now: number; readonly unwritten: readonly StoredLook[] },
): Promise<readonly HealthSample[]> {
  const durationMs = durations[resolution];
  const end = to ?? now + 1;
  const rows = await db
    .selectFrom('health_history')
    .select(['resolution', 'sample', 'looks', 'at'])
    .where('resource_id', '=', resourceId)
    .where('resolution', 'in', resolution === 'hour' ? ['hour', 'minute'] : ['minute'])
    // A row holds what came after its beginning.
    .where('at', '>', from - Math.max(durationMs, minuteMs))
    .where('at', '<', end)
    .orderBy('at')
    .limit(limits.healthHistorySamples)
    .execute();
  const recent = unwritten.map(sampleOfLook);
  if (resolution === 'raw') {
    const looks = rows.flatMap((row) => (row.looks === null ? [] : looksOf({ looks: row.looks })));
    return within([...looks.map(sampleOfLook), ...recent], from, end);
  }
  const hours = rows.filter((row) => row.resolution === 'hour');
  const settledUntil = (hours.at(-1)?.at ?? -hourMs) + hourMs;
  const stored = rows.filter((row) => row.resolution === 'hour' || resolution === 'minute' || row.at >= settledUntil);
  const samples = [...stored.map((row) => JSON.parse(row.sample) as HealthSample), ...recent];
  return within(grouped(samples, durationMs), from, end);
}

function within(samples: readonly HealthSample[], from: number, end: number): readonly HealthSample[] {
  return samples
    .filter((sample) => sample.at + Math.max(0, sample.durationMs - 1) >= from && sample.at < end)
    .slice(0, limits.healthHistorySamples);
}
