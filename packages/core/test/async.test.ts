import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fakeClock } from '@bringup/core/testing';
import { elapsedSince } from '../src/async.ts';

test('time since a moment is told, however far ahead the clock was that wrote it, or that read it at first', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: -5_000, max: 5_000_000 }), fc.nat(5_000_000), async (ahead, jump) => {
      const clock = fakeClock();
      let wrong = jump;
      const own = { ...clock, now: () => clock.now() + wrong };
      const elapsed = elapsedSince(own, clock.now() + ahead);
      expect(elapsed()).toBe(Math.max(0, jump - ahead));
      wrong = 0;
      expect(elapsed()).toBe(Math.max(0, -ahead));
      await clock.advance(700);
      expect(elapsed()).toBe(700 + Math.max(0, -ahead));
    }),
    { numRuns: 100 },
  );
});
