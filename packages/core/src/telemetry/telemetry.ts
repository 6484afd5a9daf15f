import type { GaugeKey, CounterKey, HistogramKey } from './instruments.ts';
import { Tally, type Attributes, type Reading } from './tally.ts';
import type { OpenSpan, SpanStart, Told } from './span.ts';

/**
 * What a lab tells of its work: counted in the process, and told to OpenTelemetry where a program has its
 * API. Never holds a secret, nor values of which there can be any number, as an attribute of a metric.
 */
export class Telemetry {
  readonly tally: Tally = new Tally();
  readonly #told: Told | undefined;

  /** @param told - without it, nothing leaves the process. */
  constructor(told?: Told) {
    this.#told = told;
  }

  /** Adds to a counter. */
  add(key: CounterKey, by: number, attributes: Attributes): void {
    this.tally.add(key, by, attributes);
    this.#told?.add(key, by, attributes);
  }

  /** Adds a measurement to a histogram. */
  record(key: HistogramKey, value: number, attributes: Attributes): void {
    this.tally.record(key, value, attributes);
    this.#told?.record(key, value, attributes);
  }

  /** Has gauges read whenever an SDK collects. Dispose of the result to stop. */
  observe(keys: readonly GaugeKey[], read: () => Promise<readonly Reading[]>): Disposable {
    return this.#told?.observe(keys, read) ?? { [Symbol.dispose]: () => undefined };
  }

  /** Begins a span. */
  begin(start: SpanStart): OpenSpan {
    return this.#told?.begin(start) ?? untraced;
  }

  /** Runs something as a part of nothing. */
  apart<T>(act: () => T): T {
    return this.#told === undefined ? act() : this.#told.apart(act);
  }
}

const untraced: OpenSpan = { traceparent: undefined, within: (act) => act(), end: () => undefined };

/**
 * With OpenTelemetry, if its API can be imported: whoever registers an SDK has it installed. Without a
 * registered SDK the API does nothing.
 */
export async function loadTelemetry(): Promise<Telemetry> {
  const api = await import('@opentelemetry/api').catch(() => undefined);
  if (api === undefined) return new Telemetry();
  const { OpenTelemetry } = await import('./tracing.ts');
  return new Telemetry(new OpenTelemetry(api));
}
