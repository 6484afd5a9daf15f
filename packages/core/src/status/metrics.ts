import type { Figures } from './figures.ts';
import { instruments, type CounterKey, type GaugeKey, type HistogramKey } from '../telemetry/instruments.ts';
import { renderPrometheus } from '../telemetry/prometheus.ts';
import type { Tally } from '../telemetry/tally.ts';

/** The lab's numbers for a monitoring system that asks for them. */
export interface MetricsService {
  /** What to send along with the text as `Content-Type`. */
  readonly prometheusContentType: string;
  /**
   * All metrics in Prometheus' text format; no SDK is needed for it. What this process counted since it
   * opened the lab, and how the lab stands, which is read at most every `limits.metricGaugesMs`. While the
   * database is out of reach, `bringup_store_reachable` is 0 and what is read from it is left out.
   */
  prometheusText(): Promise<string>;
}

/** The service over what was counted and what can be read. */
export function metricsService(tally: Tally, figures: Figures): MetricsService {
  return {
    prometheusContentType: 'text/plain; version=0.0.4; charset=utf-8',
    async prometheusText() {
      const readings = await figures.read();
      const families = Object.entries(instruments).map(([key, instrument]) => {
        switch (instrument.type) {
          case 'counter':
            return { instrument, samples: tally.counted(key as CounterKey) };
          case 'histogram':
            return { instrument, samples: [], distributions: tally.measured(key as HistogramKey) };
          case 'gauge':
            return { instrument, samples: readings.filter(({ gauge }) => gauge === (key as GaugeKey)) };
        }
      });
      return renderPrometheus(families);
    },
  };
}
