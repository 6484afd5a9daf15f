import { context, metrics, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type DataPoint,
  type MetricData,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace-base';

/** What a program's SDK was told. */
export interface Told {
  /** Spans that have ended, in the order of their ends. */
  spans(): readonly ReadableSpan[];
  /** Collects now. */
  metrics(): Promise<readonly MetricData[]>;
  /** The points of one metric. */
  points(name: string): Promise<readonly DataPoint<unknown>[]>;
  reset(): void;
}

/** Registers the real SDK, as a program does before it opens a lab; once in a process. */
export function registerSdk(): Told {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const reader = new PeriodicExportingMetricReader({
    exporter: new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE),
    exportIntervalMillis: 2 ** 30,
  });
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
  const collect = async (): Promise<readonly MetricData[]> => {
    const { resourceMetrics, errors } = await reader.collect();
    if (errors.length > 0) throw new AggregateError(errors);
    return resourceMetrics.scopeMetrics.flatMap(({ metrics: told }) => told);
  };
  return {
    spans: () => exporter.getFinishedSpans(),
    metrics: collect,
    points: async (name) => (await collect()).find(({ descriptor }) => descriptor.name === name)?.dataPoints ?? [],
    reset: () => exporter.reset(),
  };
}
