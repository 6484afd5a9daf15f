import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fakeClock } from '@bringup/core/testing';
import { estimateBuildTime, learnBuildTime } from '../../src/selection/build-times.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

const linux = { repository: 'linux', architecture: 'arm64' } as const;

async function learned(
  builds: readonly { readonly repository?: string; readonly serverId: string; readonly seconds: number }[],
): Promise<Store> {
  const store = await Store.open(sqlite(), fakeClock());
  for (const { seconds, ...key } of builds) {
    await store.transaction((tx) => learnBuildTime(tx, { ...linux, ...key }, seconds, 0));
  }
  return store;
}

describe('the expected time of a build', () => {
  it('R3.2, R13.1: is that of the same repository and architecture on the same server', async () => {
    await using store = await learned([
      { serverId: 'slow', seconds: 600 },
      { serverId: 'fast', seconds: 100 },
      { repository: 'u-boot', serverId: 'fast', seconds: 5 },
    ]);
    expect(await estimateBuildTime(store.db, { ...linux, serverId: 'fast' })).toEqual({
      seconds: 100,
      builds: 1,
      basis: 'server',
    });
  });

  it('is that of other servers where this one has not built it, then that of other builds there', async () => {
    await using store = await learned([
      { serverId: 'a', seconds: 100 },
      { serverId: 'a', seconds: 100 },
      { serverId: 'b', seconds: 400 },
      { repository: 'u-boot', serverId: 'c', seconds: 7 },
    ]);
    expect(await estimateBuildTime(store.db, { ...linux, serverId: 'c' })).toEqual({
      seconds: 200,
      builds: 3,
      basis: 'repository',
    });
    const unknown = { repository: 'barebox', architecture: 'arm64' } as const;
    expect(await estimateBuildTime(store.db, { ...unknown, serverId: 'c' })).toMatchObject({
      seconds: 7,
      basis: 'other-repositories',
    });
    expect(await estimateBuildTime(store.db, { ...unknown, architecture: 'riscv64' })).toBeUndefined();
  });

  it('R3.2: lies within what was seen, and soon follows a change that lasts', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 10_000 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 10_000 }),
        async (before, now) => {
          const times = [...before, ...Array.from({ length: 20 }, () => now)];
          await using store = await learned(times.map((seconds) => ({ serverId: 's', seconds })));
          const estimate = await estimateBuildTime(store.db, { ...linux, serverId: 's' });
          const { seconds = -1, builds } = estimate ?? {};
          expect(builds).toBe(times.length);
          expect(seconds).toBeGreaterThanOrEqual(Math.min(...times) - 1e-6);
          expect(seconds).toBeLessThanOrEqual(Math.max(...times) + 1e-6);
          expect(Math.abs(seconds - now)).toBeLessThanOrEqual(0.01 * Math.max(...times));
        },
      ),
      { numRuns: 100 },
    ));
});
