import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fakeClock } from '@bringup/core/testing';
import { elapsedSince, withDeadline } from '../src/async.ts';

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

test('what is opened is closed if the signal aborts before the caller has it, and is the caller’s otherwise', async () => {
  const clock = fakeClock();
  // Turns of the microtask queue between the end of the opening and the abort: in some of them nobody has it yet.
  for (let turns = 0; turns < 10; turns += 1) {
    const abort = new AbortController();
    let closed = 0;
    const opened = Promise.withResolvers<AsyncDisposable>();
    const call = withDeadline(clock, 'opening', { signal: abort.signal }, async () => opened.promise).then(
      () => 'had',
      (error: unknown) => error,
    );
    opened.resolve({ [Symbol.asyncDispose]: async () => void (closed += 1) });
    for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
    abort.abort();
    const outcome = await call;
    await new Promise(setImmediate);
    if (outcome === 'had') expect(closed, `${turns} turns`).toBe(0);
    else {
      expect(outcome).toHaveProperty('code', 'aborted');
      expect(closed, `${turns} turns`).toBe(1);
    }
  }
});
