import { describe, expect, it } from 'vitest';
import type { BoardRequirements } from '@bringup/core';
import { boardRequest } from '../../src/selection/requests.ts';
import { estimateWait } from '../../src/selection/wait-estimate.ts';
import { withLimits } from '../support/limits.ts';
import { testPool, type TestPool } from '../support/pool.ts';

const any = boardRequest({ architecture: 'armv7' });

function addBoard(pool: TestPool, name: string, labels: Readonly<Record<string, string>> = {}): Promise<string> {
  const traits = Object.entries(labels).map(([key, value]) => `label:${key}=${value}`);
  return pool.add({ kind: 'board', name, architectures: ['armv7'], slots: 1, labels, traits });
}

const labelled = (requiredLabels: NonNullable<BoardRequirements['requiredLabels']>) =>
  boardRequest({ architecture: 'armv7', requiredLabels });

describe('looking for a resource', () => {
  it('L-selectionMaxCandidates: goes through that many that strategies refuse, and through none beyond', async () => {
    const reserve = async (boards: number): Promise<boolean> => {
      await using pool = await testPool([
        {
          name: 'the last only',
          filter: ({ name }) =>
            name === `board${boards}` ? undefined : { requirement: 'name', wanted: boards, message: 'another one' },
        },
      ]);
      for (let n = 1; n <= boards; n += 1) await addBoard(pool, `board${n}`);
      return (await pool.selection.reserve(any, 'me')).success;
    };
    await withLimits({ selectionMaxCandidates: 4, selectionScored: 2, selectionLeastLoaded: 2 }, async () => {
      expect(await reserve(4)).toBe(true);
      expect(await reserve(5)).toBe(false);
    });
  });
});

describe('the wait of a request', () => {
  const minute = 60_000;

  it('L-waitEstimateRequests: is played through for that many ahead of it; the rest is taken to move at their pace', async () => {
    await using pool = await testPool();
    await addBoard(pool, 'board1');
    const hold = (holder: string, minutes: number): unknown =>
      pool.reservations.request(any, { holder, expectedMs: minutes * minute }).catch(() => undefined);
    for (const [holder, minutes] of [
      ['a', 1],
      ['b', 1],
      ['c', 1],
      ['d', 10],
    ] as const) {
      void hold(holder, minutes);
      await pool.clock.settle();
    }
    expect(await pool.reservations.listWaiting()).toHaveLength(3);
    const wait = (): Promise<number | undefined> => estimateWait(pool.store.db, any, pool.clock.now());
    await withLimits({ waitEstimateRequests: 3 }, async () => expect(await wait()).toBe(13 * minute));
    await withLimits({ waitEstimateRequests: 2 }, async () => expect(await wait()).toBe(4 * minute));
  });

  it('L-waitEstimateResources: is estimated from that many of the resources it could have', async () => {
    await using pool = await testPool();
    const first = await addBoard(pool, 'board1');
    await addBoard(pool, 'board2');
    await pool.selection.reserve({ ...any, only: first }, 'a', { expectedMs: 10 * minute });
    await pool.selection.reserve(any, 'b', { expectedMs: minute });
    const wait = (): Promise<number | undefined> => estimateWait(pool.store.db, any, pool.clock.now());
    await withLimits({ waitEstimateResources: 2 }, async () => expect(await wait()).toBe(minute));
    await withLimits({ waitEstimateResources: 1 }, async () => expect(await wait()).toBe(10 * minute));
  });
});

describe('a resource that becomes free', () => {
  it('L-waitingShapesPerOffer: is offered to so many sorts of requests that wait, in their turn', async () => {
    // A page of the list is never cut: the bound is told by whole pages.
    const page = 64;
    const granted = async (misfits: number): Promise<boolean> => {
      await using pool = await testPool();
      const b = Object.fromEntries(Array.from({ length: misfits }, (_, n) => [`b${n}`, 'yes']));
      const free = await addBoard(pool, 'board1', { a: 'yes' });
      const full = await addBoard(pool, 'board2', { a: 'yes', ...b });
      const held = await pool.reservations.request({ ...any, only: free }, { holder: 'x' });
      await pool.reservations.request({ ...any, only: full }, { holder: 'y' });
      for (const name of Object.keys(b)) {
        void pool.reservations.request(labelled({ a: 'yes', [name]: 'yes' }), { holder: name }).catch(() => undefined);
      }
      await pool.clock.settle();
      let got = false;
      void pool.reservations.request(labelled({ a: 'yes' }), { holder: 'me' }).then(
        () => (got = true),
        () => undefined,
      );
      await pool.clock.settle();
      expect(await pool.reservations.listWaiting()).toHaveLength(misfits + 1);
      await pool.reservations.release(held.id);
      await pool.clock.settle();
      return got;
    };
    await withLimits({ waitingShapesPerOffer: page }, async () => {
      expect(await granted(page - 1)).toBe(true);
      expect(await granted(page)).toBe(false);
    });
  });
});
