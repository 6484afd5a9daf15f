import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { seededRandom } from '@bringup/core/testing';

const numbers = (seed: number): number[] => {
  const random = seededRandom(seed);
  return Array.from({ length: 20 }, () => random.next());
};

describe('seeded randomness', () => {
  it('repeats for the same seed and stays within [0, 1)', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(numbers(seed)).toEqual(numbers(seed));
        expect(numbers(seed).every((number) => number >= 0 && number < 1)).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('differs between neighbouring seeds', () => {
    expect(numbers(1)).not.toEqual(numbers(2));
  });

  it('spreads evenly', () => {
    const random = seededRandom(7);
    const buckets = Array.from({ length: 10 }, () => 0);
    for (let draw = 0; draw < 10_000; draw += 1) {
      const bucket = Math.floor(random.next() * 10);
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    expect(Math.min(...buckets)).toBeGreaterThan(900);
    expect(Math.max(...buckets)).toBeLessThan(1_100);
  });
});
