import type * as Api from '@opentelemetry/api';
import { limits } from '../limits.ts';
import { instruments, type CounterKey, type GaugeKey, type HistogramKey } from './instruments.ts';
import type { OpenSpan, SpanStart, Told } from './span.ts';
import type { Attributes, Reading } from './tally.ts';

type OpenTelemetryApi = typeof Api;

const scope = '@bringup/core';

/** What is told to OpenTelemetry: whatever SDK the process registered before it opened the lab. */
export class OpenTelemetry implements Told {
  readonly #api: OpenTelemetryApi;
  readonly #tracer: Api.Tracer;
  readonly #meter: Api.Meter;
  readonly #counters = new Map<CounterKey, Api.Counter>();
  readonly #histograms = new Map<HistogramKey, Api.Histogram>();

  constructor(api: OpenTelemetryApi) {
    this.#api = api;
    this.#tracer = api.trace.getTracer(scope);
    this.#meter = api.metrics.getMeter(scope);
  }

  /** Adds to a counter. */
  add(key: CounterKey, by: number, attributes: Attributes): void {
    const { name, unit, description } = instruments[key];
    const counter = this.#counters.get(key) ?? this.#meter.createCounter(name, { unit, description });
    this.#counters.set(key, counter);
    counter.add(by, attributes);
  }

  /** Adds a measurement to a histogram. */
  record(key: HistogramKey, value: number, attributes: Attributes): void {
    const { name, unit, description, buckets = [] } = instruments[key];
    const advice = { explicitBucketBoundaries: [...buckets] };
    const histogram = this.#histograms.get(key) ?? this.#meter.createHistogram(name, { unit, description, advice });
    this.#histograms.set(key, histogram);
    histogram.record(value, attributes);
  }

  /** Has gauges read whenever somebody collects. */
  observe(keys: readonly GaugeKey[], read: () => Promise<readonly Reading[]>): Disposable {
    const gauges = new Map(
      keys.map((key) => {
        const { name, unit, description } = instruments[key];
        return [key, this.#meter.createObservableGauge(name, { unit, description })];
      }),
    );
    const callback: Api.BatchObservableCallback = async (result) => {
      for (const { gauge, value, attributes } of await read()) {
        const observed = gauges.get(gauge);
        if (observed !== undefined) result.observe(observed, value, attributes);
      }
    };
    const observed = [...gauges.values()];
    this.#meter.addBatchObservableCallback(callback, observed);
    return { [Symbol.dispose]: () => this.#meter.removeBatchObservableCallback(callback, observed) };
  }

  /** Begins a span. */
  begin({ name, role, attributes, at, parent }: SpanStart): OpenSpan {
    const { trace, context, SpanKind, SpanStatusCode } = this.#api;
    const kind = { client: SpanKind.CLIENT, producer: SpanKind.PRODUCER, consumer: SpanKind.CONSUMER }[role];
    const around = this.#around(parent);
    const options: Api.SpanOptions = { kind, attributes: cut(attributes), startTime: new Date(at) };
    const span = this.#tracer.startSpan(name, options, around);
    const inside = trace.setSpan(around, span);
    return {
      traceparent: formatTraceparent(this.#api, span.spanContext()),
      within: (act) => context.with(inside, act),
      end: (endAt, more, errorCode) => {
        span.setAttributes(cut(more));
        if (errorCode !== undefined) {
          span.setAttribute('error.type', errorCode);
          span.setStatus({ code: SpanStatusCode.ERROR });
        }
        span.end(new Date(endAt));
      },
    };
  }

  /** Runs something as a part of nothing: what a process does all its life belongs to no caller's trace. */
  apart<T>(act: () => T): T {
    return this.#api.context.with(this.#api.ROOT_CONTEXT, act);
  }

  #around(parent: string | null | undefined): Api.Context {
    const { trace, context, ROOT_CONTEXT } = this.#api;
    if (parent === undefined) return context.active();
    const remote = parent === null ? undefined : parseTraceparent(parent);
    return remote === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { ...remote, isRemote: true });
  }
}

/** https://www.w3.org/TR/trace-context/#traceparent-header, version 00. */
function formatTraceparent(api: OpenTelemetryApi, span: Api.SpanContext): string | undefined {
  if (!api.isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${span.traceFlags.toString(16).padStart(2, '0')}`;
}

function parseTraceparent(traceparent: string): Api.SpanContext | undefined {
  const [, traceId, spanId, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) };
}

function cut(attributes: Attributes): Record<string, string | number | boolean> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === 'string' ? value.slice(0, limits.spanAttributeChars) : value,
    ]),
  );
}
