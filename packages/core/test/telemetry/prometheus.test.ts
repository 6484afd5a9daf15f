import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { memoryLab, sqliteError } from '@bringup/core/testing';
import type { Instrument } from '../../src/telemetry/instruments.ts';
import { renderPrometheus } from '../../src/telemetry/prometheus.ts';
import { Tally } from '../../src/telemetry/tally.ts';
import { kernelPipeline, repositories } from '../support/requests.ts';
import { parsePrometheus } from './parse-prometheus.ts';

const gauge: Instrument = { name: 'a.size', type: 'gauge', unit: 'By', description: 'Of a.', attributes: [] };

describe('the Prometheus text', () => {
  it('carries any label value, help and number through a strict parser', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z][a-z.]{0,9}[a-z]$/), text, { maxKeys: 4, noNullPrototype: true }),
        text,
        fc.oneof(fc.double(), fc.integer()),
        (attributes, description, value) => {
          const told = renderPrometheus([{ instrument: { ...gauge, description }, samples: [{ attributes, value }] }]);
          const [family, ...others] = parsePrometheus(told);
          expect(others).toEqual([]);
          expect(family).toEqual({
            name: 'a_size_bytes',
            type: 'gauge',
            help: description,
            samples: [
              {
                name: 'a_size_bytes',
                labels: Object.fromEntries(
                  Object.entries(attributes).map(([name, label]) => [name.replaceAll('.', '_'), label]),
                ),
                value: Object.is(value, -0) ? 0 : value,
              },
            ],
          });
        },
      ),
    );
  });

  it('has the sum, the count and cumulative buckets of a histogram', () => {
    const tally = new Tally();
    for (const seconds of [0.2, 0.5, 7, 100_000]) tally.record('workQueueDuration', seconds, { kind: 'build' });
    const instrument: Instrument = {
      name: 'queue',
      type: 'histogram',
      unit: 's',
      description: 'd',
      attributes: [],
      buckets: [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400],
    };
    const told = renderPrometheus([{ instrument, samples: [], distributions: tally.measured('workQueueDuration') }]);
    expect(told.split('\n').slice(0, 5)).toEqual([
      '# HELP queue_seconds d',
      '# TYPE queue_seconds histogram',
      'queue_seconds_bucket{kind="build",le="0.1"} 0',
      'queue_seconds_bucket{kind="build",le="0.5"} 2',
      'queue_seconds_bucket{kind="build",le="1"} 2',
    ]);
    expect(told.split('\n').slice(-5)).toEqual([
      'queue_seconds_bucket{kind="build",le="14400"} 3',
      'queue_seconds_bucket{kind="build",le="+Inf"} 4',
      'queue_seconds_sum{kind="build"} 100007.7',
      'queue_seconds_count{kind="build"} 4',
      '',
    ]);
  });
});

describe('the metrics of a lab', () => {
  it('are told without any SDK, of work, calls and what waits', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    await lab.addHost();
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    const families = parsePrometheus(await lab.metrics.prometheusText());
    const value = (name: string, labels: Readonly<Record<string, string>>): number | undefined =>
      families
        .flatMap(({ samples }) => samples)
        .find((s) => s.name === name && Object.entries(labels).every(([key, text]) => s.labels[key] === text))?.value;
    expect(
      value('bringup_work_ended_total', { bringup_work_kind: 'pipeline', bringup_work_outcome: 'succeeded' }),
    ).toBe(1);
    expect(value('bringup_work_duration_seconds_count', { bringup_work_kind: 'build' })).toBe(1);
    expect(value('bringup_connector_call_duration_seconds_count', { bringup_connector_operation: 'createVm' })).toBe(1);
    expect(value('bringup_resource_count', { bringup_resource_kind: 'host', bringup_resource_status: 'online' })).toBe(
      1,
    );
    expect(value('bringup_store_reachable', {})).toBe(1);
    expect(value('bringup_log_size_bytes', {})).toBeGreaterThan(0);
    expect(value('bringup_log_written_bytes_total', {})).toBeGreaterThan(0);
  });

  it(`are read from the store once in ${limits.metricGaugesMs} ms, however many ask`, async () => {
    let statements = 0;
    await using lab = await memoryLab({ roles: [], process: { onStatement: () => void (statements += 1) } });
    const read = async (): Promise<number> => {
      const before = statements;
      await Promise.all(Array.from({ length: 10 }, () => lab.metrics.prometheusText()));
      return statements - before;
    };
    const once = await read();
    expect(once).toBeGreaterThan(0);
    expect(once).toBeLessThan(15);
    expect(await read()).toBe(0);
    await lab.clock.advance(limits.metricGaugesMs);
    expect(await read()).toBeGreaterThan(0);
  });

  it('tell that the store is out of reach, and what the process counted all the same', async () => {
    let isDown = false;
    const onStatement = (): void => {
      if (isDown) throw sqliteError(10, 'disk I/O error');
    };
    await using lab = await memoryLab({ roles: [], process: { onStatement } });
    await lab.addServer();
    isDown = true;
    const families = parsePrometheus(await lab.metrics.prometheusText());
    expect(families.find(({ name }) => name === 'bringup_store_reachable')?.samples[0]?.value).toBe(0);
    expect(families.map(({ name }) => name)).toContain('bringup_connector_call_duration_seconds');
    expect(families.map(({ name }) => name)).not.toContain('bringup_resource_count');
    isDown = false;
  });
});
