import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { minuteOf, readHistory, rollUp, storeMinute, type StoredLook } from '../../src/health/history.ts';
import { testPool } from '../support/pool.ts';

const minute = 60_000;
const hour = 60 * minute;

function look(at: number, cpu: number, answered: 0 | 1 = 1): StoredLook {
  return answered === 1
    ? [at, 1, 5, cpu, 20, 30, 40, 0, at, at]
    : [at, 0, null, null, null, null, null, null, null, null];
}

describe('the history of a resource', () => {
  it('R9.5: is told by the look, the minute and the hour, and is bounded', async () => {
    await using pool = await testPool();
    const id = await pool.add({ kind: 'host', name: 'host1', architectures: ['x86_64'] });
    const from = Date.UTC(2026, 0, 1);
    const hours = 10;
    for (let at = from; at < from + hours * hour; at += minute) {
      const looks = [look(at, 10), look(at + 20_000, 30), look(at + 40_000, 0, 0)];
      const now = at + minute;
      await pool.store.transaction(async (tx) => {
        await storeMinute(tx, id, minuteOf(at, looks));
        if (now % hour === 0) await rollUp(tx, id, now);
      });
    }
    const now = from + hours * hour;
    const read = (resolution: 'raw' | 'minute' | 'hour') =>
      readHistory(pool.store, id, { resolution }, { now, unwritten: [look(now, 99)] });

    const byHour = await read('hour');
    expect(byHour).toHaveLength(hours + 1);
    expect(byHour[0]).toMatchObject({
      at: from,
      durationMs: hour,
      looks: 180,
      answered: 120,
      cpuPercent: 20,
      cpuPercentMax: 30,
      temperatureCelsius: 40,
      responseTimeMs: 5,
      networkBytesIn: from + hour - minute + 20_000,
    });
    const byMinute = await read('minute');
    expect(byMinute).toHaveLength(limits.healthMinutesKeptMs / minute + 1);
    const byLook = await read('raw');
    expect(byLook).toHaveLength((limits.healthLooksKeptMs / minute) * 3 + 1);
    expect(byLook.at(-1)).toMatchObject({ at: now, durationMs: 0, cpuPercent: 99 });
    const part = await readHistory(
      pool.store,
      id,
      { resolution: 'minute', from: now - 10 * minute, to: now - 5 * minute },
      { now, unwritten: [] },
    );
    expect(part.map(({ at }) => at)).toEqual([10, 9, 8, 7, 6].map((ago) => now - ago * minute));
  });

  it('goes with its resource', async () => {
    await using pool = await testPool();
    const id = await pool.add({ kind: 'host', name: 'host1', architectures: ['x86_64'] });
    await pool.store.transaction((tx) => storeMinute(tx, id, minuteOf(1, [look(1, 1)])));
    await pool.pool('host').remove(id);
    // What was seen of it last comes after it is gone.
    expect(await pool.store.transaction((tx) => storeMinute(tx, id, minuteOf(2, [look(2, 2)])))).toBe(false);
    expect(await pool.store.db.selectFrom('health_history').selectAll().execute()).toEqual([]);
  });
});
