import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { limits } from '@bringup/core';
import { fakeClock, seededRandom } from '@bringup/core/testing';
import { MonitorLease } from '../../src/health/lease.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

describe('the lease of the monitor', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bringup-lease-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is one process at a time: kept by who has it, taken when it is given back or has run out', async () => {
    const clock = fakeClock();
    const open = (): Promise<Store> => Store.open(sqlite({ path: join(folder, 'lab.db') }), clock);
    await using one = await open();
    await using two = await open();
    const first = new MonitorLease(one, clock, seededRandom(1));
    const second = new MonitorLease(two, clock, seededRandom(2));
    expect([await first.take(), await second.take(), await first.take()]).toEqual([true, false, true]);
    await first.release();
    expect(await second.take()).toBe(true);
    await expect(one.transaction((tx) => first.check(tx))).rejects.toMatchObject({ code: 'lease-lost' });
    await clock.advance(limits.leaseMs);
    expect(await first.take()).toBe(true);
    await expect(two.transaction((tx) => second.check(tx))).rejects.toMatchObject({ code: 'lease-lost' });
  });
});
