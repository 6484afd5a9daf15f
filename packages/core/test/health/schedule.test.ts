import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
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
});
