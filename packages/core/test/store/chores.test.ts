import { describe, expect, it } from 'vitest';
import { sqlite } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { makeDueIn, SharedChore } from '../../src/store/chores.ts';
import { Store } from '../../src/store/store.ts';

const periodMs = 600_000;

async function world() {
  const clock = fakeClock();
  const store = await Store.open(sqlite(), clock);
  /** A process whose clock is so far ahead. */
  const process = (aheadMs = 0) => {
    const own = { ...clock, aheadMs, now: (): number => clock.now() + own.aheadMs };
    return { own, chore: new SharedChore({ store, clock: own, name: 'sweep', periodMs }) };
  };
  return { clock, store, process, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

describe('a chore that processes share', () => {
  it('is first due after a period, then once each period, for one of them', async () => {
    await using lab = await world();
    const chores = [lab.process().chore, lab.process().chore];
    const taken = async (): Promise<number> =>
      (await Promise.all(chores.map((chore) => chore.take()))).filter(Boolean).length;
    expect(await taken()).toBe(0);
    for (let period = 0; period < 3; period += 1) {
      await lab.clock.advance(periodMs - 1);
      expect(await taken()).toBe(0);
      await lab.clock.advance(1);
      expect(await taken()).toBe(1);
      expect(await taken()).toBe(0);
    }
  });

  it('is due at once when somebody makes it so', async () => {
    await using lab = await world();
    const { chore } = lab.process();
    await lab.store.transaction((tx) => makeDueIn(tx, 'sweep', lab.clock.now()));
    expect(await chore.take()).toBe(true);
    expect(await chore.take()).toBe(false);
  });

  it('that a process put off whose clock is a year ahead is done a period later by who is left', async () => {
    await using lab = await world();
    const [right, wrong] = [lab.process(), lab.process(365 * 86_400_000)];
    await wrong.chore.take();
    const looks = async (times: number): Promise<boolean[]> => {
      const results: boolean[] = [];
      for (let look = 0; look < times; look += 1) {
        await lab.clock.advance(periodMs / 4);
        results.push(await right.chore.take());
      }
      return results;
    };
    expect(await right.chore.take()).toBe(false);
    expect(await looks(5)).toEqual([false, false, false, true, false]);
    expect(await looks(4)).toEqual([false, false, true, false]);
  });

  it('is not done more often because the clocks of two that live differ', async () => {
    await using lab = await world();
    const processes = [lab.process(), lab.process(3_600_000)];
    for (const { chore } of processes) await chore.take();
    let taken = 0;
    for (let look = 0; look < 40; look += 1) {
      await lab.clock.advance(periodMs / 4);
      for (const { chore } of processes) taken += (await chore.take()) ? 1 : 0;
    }
    expect(taken).toBeGreaterThanOrEqual(9);
    expect(taken).toBeLessThanOrEqual(11);
  });
});
