import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newId, systemClock, type Clock, type Random } from '@bringup/core';
import { seededRandom } from '@bringup/core/testing';

/** A clock that shows the given times, one a look, and the last one for ever. */
function clockShowing(times: readonly number[]): Clock {
  let looks = 0;
  return { now: () => times[Math.min(looks++, times.length - 1)] ?? 0, timer: () => ({ [Symbol.dispose]: () => {} }) };
}

const idsOf = (times: readonly number[], random: Random): string[] => {
  const clock = clockShowing(times);
  return times.map(() => newId(clock, random));
};

// Close to each other, so that many are equal and many go back; far apart; and with fractions.
const times = fc.array(
  fc.oneof(fc.integer({ min: 1_000, max: 1_005 }), fc.nat(32 ** 10 - 2), fc.double({ min: 0, max: 10, noNaN: true })),
  { minLength: 2, maxLength: 60 },
);
const random = fc.oneof(
  fc.integer().map(seededRandom),
  // Leaves no room to count up in a millisecond.
  fc.constant<Random>({ next: () => 1 - Number.EPSILON / 2 }),
);

describe('the machine’s clock', () => {
  it('fires no timer before its time, whatever fraction of a millisecond it is set at', async () => {
    const after = async (delayMs: number): Promise<number> => {
      const set = performance.now();
      await new Promise<void>((resolve) => systemClock.timer(delayMs, resolve));
      return performance.now() - set;
    };
    const waits = Array.from({ length: 100 }, () => {
      const wait = after(20);
      for (const until = performance.now() + 0.11; performance.now() < until;);
      return wait;
    });
    expect(Math.min(...(await Promise.all(waits)))).toBeGreaterThanOrEqual(20);
  });

  it('fires no timer of a month at once, and none that is disposed', async () => {
    const fired: string[] = [];
    const month = systemClock.timer(31 * 86_400_000, () => fired.push('month'));
    const disposed = systemClock.timer(1, () => fired.push('disposed'));
    disposed[Symbol.dispose]();
    await new Promise<void>((resolve) => systemClock.timer(5, resolve));
    expect(fired).toEqual([]);
    month[Symbol.dispose]();
  });
});

describe('ids', () => {
  it('sort in the order they were made, whatever the clock does, and none comes twice', () => {
    fc.assert(
      fc.property(times, random, (given, source) => {
        const ids = idsOf(given, source);
        expect(ids.toSorted()).toEqual(ids);
        expect(new Set(ids).size).toBe(ids.length);
        for (const id of ids) expect(id).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
      }),
      { numRuns: 300 },
    );
  });

  it('repeat for the same clock and seed', () => {
    fc.assert(
      fc.property(times, fc.integer(), (given, seed) => {
        expect(idsOf(given, seededRandom(seed))).toEqual(idsOf(given, seededRandom(seed)));
      }),
      { numRuns: 100 },
    );
  });

  it('of two processes differ in the same millisecond', () => {
    expect(idsOf([5], seededRandom(1))).not.toEqual(idsOf([5], seededRandom(2)));
  });

  it('begin with the time in Crockford’s base 32', () => {
    // The example of ULID's specification.
    expect(idsOf([1_469_918_176_385], seededRandom(1))[0]).toMatch(/^01aryz6s41/);
  });
});
