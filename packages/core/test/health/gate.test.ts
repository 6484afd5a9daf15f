import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Gate } from '../../src/health/gate.ts';

/** Something that takes until it is told to end. */
function pending(): { readonly act: () => Promise<string>; readonly end: () => void; readonly fail: () => void } {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  return { act: () => promise, end: () => resolve('done'), fail: () => reject(new Error('it failed')) };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await Promise.resolve();
}

describe('a gate', () => {
  it('L-healthConcurrency, L-healthConnects: lets through as many as it has places, and the others in the order they came', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.tuple(fc.nat(9), fc.boolean()), { maxLength: 12 }),
        async (places, ends) => {
          const gate = new Gate(places);
          const began: number[] = [];
          const acts = ends.map(pending);
          const passes = acts.map(({ act }, index) =>
            gate.pass(() => {
              began.push(index);
              return act();
            }),
          );
          const outcomes = Promise.allSettled(passes);
          const inside = new Set<number>();
          let known = 0;
          for (const [pick, fails] of ends) {
            await settle();
            for (const index of began.slice(known)) inside.add(index);
            known = began.length;
            expect(inside.size).toBe(Math.min(places, inside.size + acts.length - known));
            expect(inside.size).toBeLessThanOrEqual(places);
            const next = [...inside][pick % inside.size] ?? 0;
            inside.delete(next);
            if (fails) acts[next]?.fail();
            else acts[next]?.end();
          }
          expect((await outcomes).length).toBe(ends.length);
          expect(began).toEqual(ends.map((_, index) => index));
        },
      ),
      { numRuns: 100 },
    );
  });

  it('gives what was done inside, and its error, and frees the place after either', async () => {
    const gate = new Gate(1);
    expect(await gate.pass(async () => 'seen')).toBe('seen');
    await expect(gate.pass(async () => Promise.reject(new Error('it failed')))).rejects.toThrow('it failed');
    const thrown = gate.pass(() => {
      throw new Error('at once');
    });
    await expect(thrown).rejects.toThrow('at once');
    expect(await gate.pass(async () => 'seen again')).toBe('seen again');
  });
});
