import { describe, expect, it } from 'vitest';
import { BringupError, limits } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { CallMeter } from '../../src/telemetry/measured.ts';
import { overflow } from '../../src/telemetry/tally.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';

const telemetry = (): Telemetry => new Telemetry();
const operationsOf = (told: Telemetry): unknown[] =>
  told.tally.measured('callDuration').map(({ attributes }) => attributes['bringup.connector.operation']);

describe('a measured connector', () => {
  it('is what it was: private fields, what nobody measures, what is optional, what it is an instance of', async () => {
    class Station {
      #flashed = 0;
      readonly opened = true;
      async flash(): Promise<number> {
        return (this.#flashed += 1);
      }
      count(): number {
        return this.#flashed;
      }
    }
    const meter = new CallMeter(telemetry(), fakeClock());
    const connector = meter.connector('flash', Object.freeze({ name: 'mine', open: async () => new Station() }));
    const station = await connector.open();
    expect([await station.flash(), await station.flash(), station.count(), station.opened]).toEqual([1, 2, 2, true]);
    expect(station).toBeInstanceOf(Station);
    expect('verify' in station).toBe(false);
    expect({ ...connector }).toMatchObject({ name: 'mine' });
  });

  it('has its time, and its error, counted once for each call', async () => {
    const told = telemetry();
    const clock = fakeClock();
    const meter = new CallMeter(told, clock);
    const connector = meter.connector('notifier', {
      name: 'pager',
      deliver: async (fails: boolean): Promise<void> => {
        await clock.advance(2_000);
        if (fails) throw new BringupError('delivery-failed', 'no');
      },
    });
    await connector.deliver(false);
    await expect(connector.deliver(true)).rejects.toMatchObject({ code: 'delivery-failed' });
    const how = {
      'bringup.connector.type': 'notifier',
      'bringup.connector.name': 'pager',
      'bringup.connector.operation': 'deliver',
    };
    expect(told.tally.measured('callDuration')).toMatchObject([
      { attributes: how, count: 1, sum: 2 },
      { attributes: { ...how, 'error.type': 'delivery-failed' }, count: 1, sum: 2 },
    ]);
  });

  it.for<[string, (bytes: AsyncIterable<number>) => Promise<unknown>, string | undefined]>([
    ['to its end', async (bytes) => Array.fromAsync(bytes), undefined],
    [
      'until its caller has had enough',
      async (bytes) => {
        for await (const _ of bytes) break;
      },
      undefined,
    ],
  ])('has a stream measured %s, once', async ([, read]) => {
    const told = telemetry();
    const storage = new CallMeter(told, fakeClock()).connector('artifact_storage', {
      async *get() {
        yield 1;
        yield 2;
      },
    });
    await read(storage.get());
    expect(operationsOf(told)).toEqual(['get']);
    expect(told.tally.measured('callDuration')[0]?.count).toBe(1);
  });
});

describe('counting', () => {
  it(`holds ${limits.metricSeries} series of a metric, and one more for all that come after`, () => {
    const { tally } = telemetry();
    for (let n = 0; n < limits.metricSeries; n += 1) tally.add('workRuns', 1, { n });
    expect(tally.counted('workRuns')).toHaveLength(limits.metricSeries);
    expect(tally.counted('workRuns').at(-1)).toEqual({ attributes: { n: limits.metricSeries - 1 }, value: 1 });
    for (let n = 0; n < 3; n += 1) tally.add('workRuns', 1, { more: n });
    tally.add('workRuns', 1, { n: 0 });
    expect(tally.counted('workRuns')).toHaveLength(limits.metricSeries + 1);
    expect(tally.counted('workRuns').at(-1)).toEqual({ attributes: overflow, value: 3 });
    expect(tally.counted('workRuns')[0]?.value).toBe(2);
  });
});
