import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Clock } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { Schedule } from '../../src/health/schedule.ts';

describe('a schedule', () => {
  it('calls each at its last time that was set, in order, with one timer for all', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 1000 }), fc.boolean())),
        async (steps) => {
          const clock = fakeClock();
          const from = clock.now();
          const called: [string, number][] = [];
          using schedule = new Schedule(clock, (id) => called.push([id, clock.now() - from]));
          const wanted = new Map<string, number>();
          for (const [name, delayMs, drop] of steps) {
            const id = String(name);
            schedule.set(id, delayMs);
            wanted.set(id, delayMs);
            if (!drop) continue;
            schedule.delete(id);
            wanted.delete(id);
          }
          expect(clock.pending.length).toBeLessThanOrEqual(1);
          await clock.advance(1000);
          expect(new Map(called)).toEqual(wanted);
          expect(called).toHaveLength(wanted.size);
          expect(called.map(([, at]) => at)).toEqual(called.map(([, at]) => at).toSorted((a, b) => a - b));
        },
      ),
      { numRuns: 100, seed: 9 },
    );
  });

  it('comes round to each whatever is done to the clock meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: -3_600_000, max: 3_600_000 })), {
          minLength: 1,
        }),
        async (jumps) => {
          const real = fakeClock();
          let aheadMs = 0;
          const clock: Clock = {
            now: () => real.now() + aheadMs,
            timer: (delayMs, fire, options) => real.timer(delayMs, fire, options),
          };
          const calls = { often: 0, seldom: 0 };
          const periods = { often: 70, seldom: 300 };
          using schedule: Schedule = new Schedule(clock, (id) => {
            calls[id as keyof typeof calls] += 1;
            schedule.set(id, periods[id as keyof typeof calls]);
          });
          schedule.set('often', periods.often);
          schedule.set('seldom', periods.seldom);
          for (const [afterMs, byMs] of jumps) {
            await real.advance(afterMs);
            aheadMs += byMs;
          }
          const before = { ...calls };
          await real.advance(2 * periods.seldom);
          expect(calls.often - before.often).toBeGreaterThanOrEqual(7);
          expect(calls.seldom - before.seldom).toBeGreaterThanOrEqual(1);
        },
      ),
      { numRuns: 100, seed: 9 },
    );
  });
});
