import type { CounterKey, GaugeKey, HistogramKey } from './instruments.ts';
import type { Attributes, Reading } from './tally.ts';

/** Which part an operation has in a trace. */
export type SpanRole = 'client' | 'producer' | 'consumer';

/** What a span begins with. */
export interface SpanStart {
  readonly name: string;
  readonly role: SpanRole;
  readonly attributes: Attributes;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  /** What it is a part of, as a W3C traceparent; null for nothing. Default: what is going on around the call. */
  readonly parent?: string | null;
}

/** A span that was begun. */
export interface OpenSpan {
  /** W3C traceparent of the span; undefined where nobody traces. */
  readonly traceparent: string | undefined;
  /** Runs something as a part of it. */
  within<T>(act: () => T): T;
  /** Ends it. An error's code makes it a failed one. */
  end(at: number, attributes: Attributes, errorCode?: string): void;
}

/**
 * Who is told of all that goes on. Not by the types of OpenTelemetry: these declarations are read by programs that do not
 * have it.
 */
export interface Told {
  /** Adds to a counter. */
  add(key: CounterKey, by: number, attributes: Attributes): void;
  /** Adds a measurement to a histogram. */
  record(key: HistogramKey, value: number, attributes: Attributes): void;
  /** Has gauges read whenever somebody collects. */
  observe(keys: readonly GaugeKey[], read: () => Promise<readonly Reading[]>): Disposable;
  /** Begins a span. */
  begin(start: SpanStart): OpenSpan;
  /** Runs something as a part of nothing. */
  apart<T>(act: () => T): T;
}
