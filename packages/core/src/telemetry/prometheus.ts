import type { Instrument } from './instruments.ts';
import type { Distribution, Sample } from './tally.ts';

/** A metric with what it has come to. */
export interface Family {
  readonly instrument: Instrument;
  readonly samples: readonly Sample[];
  /** Of a histogram. */
  readonly distributions?: readonly Distribution[];
}

/**
 * Metrics in Prometheus' text exposition format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/), under the names that OpenTelemetry's
 * rules for Prometheus give them. Those that have come to nothing are left out.
 */
export function renderPrometheus(families: readonly Family[]): string {
  return families.map((family) => renderFamily(family)).join('');
}

/** `bringup.work.duration` in seconds is `bringup_work_duration_seconds`; counters end with `_total`. */
export function prometheusName({ name, unit, type }: Instrument): string {
  const parts = [labelName(name), ...unitSuffix(unit), ...(type === 'counter' ? ['total'] : [])];
  return parts.join('_');
}

/** Units of things that are counted, in braces, have no suffix. */
function unitSuffix(unit: string): string[] {
  const words: Readonly<Record<string, string>> = { s: 'seconds', By: 'bytes' };
  const word = words[unit];
  return word === undefined ? [] : [word];
}

function renderFamily({ instrument, samples, distributions = [] }: Family): string {
  if (samples.length + distributions.length === 0) return '';
  const name = prometheusName(instrument);
  const lines = [
    `# HELP ${name} ${instrument.description.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
    `# TYPE ${name} ${instrument.type}`,
    ...samples.map(({ attributes, value }) => line(name, attributes, value)),
    ...distributions.flatMap((distribution) => histogramLines(name, instrument, distribution)),
  ];
  return `${lines.join('\n')}\n`;
}

/** Buckets hold all that is not above their bound. */
function histogramLines(name: string, { buckets = [] }: Instrument, of: Distribution): string[] {
  let sum = 0;
  const counted = of.inBuckets.map((count) => (sum += count));
  return [
    ...counted.map((count, at) =>
      line(`${name}_bucket`, { ...of.attributes, le: number(buckets[at] ?? Infinity) }, count),
    ),
    line(`${name}_sum`, of.attributes, of.sum),
    line(`${name}_count`, of.attributes, of.count),
  ];
}

function line(name: string, attributes: Sample['attributes'], value: number): string {
  const labels = Object.entries(attributes).map(([key, text]) => `${labelName(key)}="${escaped(String(text))}"`);
  return `${name}${labels.length === 0 ? '' : `{${labels.join(',')}}`} ${number(value)}`;
}

function labelName(attribute: string): string {
  return attribute.replaceAll(/[^a-zA-Z0-9_]/g, '_');
}

/** Half a surrogate pair has no UTF-8: it becomes a replacement character. */
function escaped(text: string): string {
  return text.toWellFormed().replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

function number(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value);
  return value > 0 ? '+Inf' : '-Inf';
}
