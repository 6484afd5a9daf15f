import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { StoredLook } from '../../src/health/history.ts';
import { LookLog } from '../../src/health/look-log.ts';

const figure = fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }));
const look = fc.tuple(
  fc.integer({ min: 0, max: 4_102_444_800_000 }),
  fc.constantFrom(0 as const, 1 as const),
  ...([figure, figure, figure, figure, figure, figure, figure, figure] as const),
) satisfies fc.Arbitrary<StoredLook>;

describe('the looks of a minute', () => {
  it('are given back as they were made, oldest first, however many, minute after minute', () => {
    fc.assert(
      fc.property(fc.array(fc.array(look, { maxLength: 40 }), { maxLength: 4 }), (minutes) => {
        const log = new LookLog();
        for (const looks of minutes) {
          for (const made of looks) log.add(made);
          expect(log.since).toBe(looks[0]?.[0]);
          expect(log.looks()).toEqual(looks);
          log.clear();
          expect(log.since).toBeUndefined();
          expect(log.looks()).toEqual([]);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('do not change once they were given: the log that goes on is another', () => {
    const log = new LookLog();
    const made: StoredLook = [1, 1, 5, 50, null, null, null, null, null, null];
    log.add(made);
    const given = log.looks();
    log.clear();
    log.add([2, 0, null, null, null, null, null, null, null, null]);
    expect(given).toEqual([made]);
  });
});
