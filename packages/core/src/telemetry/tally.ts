import { limits } from '../limits.ts';
import { instruments, type CounterKey, type GaugeKey, type HistogramKey } from './instruments.ts';

/** What tells the series of a metric apart; few different values each. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** One figure of a metric. */
export interface Sample {
  readonly attributes: Attributes;
  readonly value: number;
}

/** What a gauge shows. */
export interface Reading extends Sample {
  readonly gauge: GaugeKey;
}

/** One series of a histogram. */
export interface Distribution {
  readonly attributes: Attributes;
  readonly count: number;
  readonly sum: number;
  /** How many were in each bucket, the last one without an upper bound. */
  readonly inBuckets: readonly number[];
}

/** Attributes of the one series for whatever came after `limits.metricSeries`, as OpenTelemetry has it. */
export const overflow: Attributes = { 'otel.metric.overflow': true };

interface Growing {
  readonly attributes: Attributes;
  count: number;
  sum: number;
  readonly inBuckets: number[];
}

/** What this process has counted and measured since it began, for those who have no SDK of OpenTelemetry. */
export class Tally {
  readonly #counted = new Map<CounterKey, Map<string, { readonly attributes: Attributes; value: number }>>();
  readonly #measured = new Map<HistogramKey, Map<string, Growing>>();

  /** Adds to a counter. */
  add(key: CounterKey, by: number, attributes: Attributes): void {
    const series = seriesOf(this.#counted, key, attributes, (told) => ({ attributes: told, value: 0 }));
    series.value += by;
  }

  /** Adds a measurement to a histogram. */
  record(key: HistogramKey, value: number, attributes: Attributes): void {
    const { buckets = [] } = instruments[key];
    const series = seriesOf(this.#measured, key, attributes, (told) => ({
      attributes: told,
      count: 0,
      sum: 0,
      inBuckets: Array.from({ length: buckets.length + 1 }, () => 0),
    }));
    series.count += 1;
    series.sum += value;
    const found = buckets.findIndex((bound) => value <= bound);
    const bucket = found === -1 ? buckets.length : found;
    series.inBuckets[bucket] = (series.inBuckets[bucket] ?? 0) + 1;
  }

  /** What a counter has come to. */
  counted(key: CounterKey): readonly Sample[] {
    return [...(this.#counted.get(key)?.values() ?? [])];
  }

  /** What a histogram holds. */
  measured(key: HistogramKey): readonly Distribution[] {
    return [...(this.#measured.get(key)?.values() ?? [])];
  }
}

function seriesOf<K, S>(all: Map<K, Map<string, S>>, key: K, attributes: Attributes, make: (told: Attributes) => S): S {
  const known = all.get(key) ?? new Map<string, S>();
  all.set(key, known);
  const name = JSON.stringify(attributes);
  const existing = known.get(name);
  if (existing !== undefined) return existing;
  const told = known.size < limits.metricSeries ? attributes : overflow;
  const toldName = told === attributes ? name : JSON.stringify(told);
  const series = known.get(toldName) ?? make(told);
  known.set(toldName, series);
  return series;
}
