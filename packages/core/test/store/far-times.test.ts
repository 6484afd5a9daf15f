import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits, type Clock } from '@bringup/core';
import { fakeClock, seededRandom, type FakeClock } from '@bringup/core/testing';
import { Shards } from '../../src/health/shards.ts';
import { endFarLeases } from '../../src/pool/reservations.ts';
import { boardRequest } from '../../src/selection/requests.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { FarTimes } from '../../src/store/far-times.ts';
import { handler, startEngine } from '../support/engine.ts';
import { testPool } from '../support/pool.ts';

const hour = 3_600_000;
/** From the last heartbeat of a process until whoever looks at each of its own knows that there was no other. */
const noticedMs = limits.leaseMs + 2 * limits.heartbeatMs;

describe('what a process wrote whose clock is an hour ahead', () => {
  let folder = '';
  let clock: FakeClock;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bringup-far-'));
    clock = fakeClock();
  });
  afterEach(() => rm(folder, { recursive: true }));

  const path = (): string => join(folder, 'lab.db');
  const off = (byMs: number, timer: Clock['timer'] = (...args) => clock.timer(...args)): Clock => {
    return { now: () => clock.now() + byMs, timer };
  };
  const frozen: Clock['timer'] = () => ({ [Symbol.dispose]: () => undefined });

  it('does not keep work from others when it has died', async () => {
    const never = handler('build', () => new Promise(() => {}));
    const dead = await startEngine([never], { path: path(), clock, engineClock: off(hour, frozen) });
    const id = await dead.engine.submit('build', {});
    await clock.settle();
    const done = handler('build', async () => 'done');
    await using other = await startEngine([done], { path: path(), clock, random: seededRandom(8) });
    await clock.advance(noticedMs);
    expect(await other.engine.get(id)).toMatchObject({ state: 'succeeded', takeovers: 1 });
    await dead.store[Symbol.asyncDispose]();
  });

  it.each([
    { who: 'the owner is ahead', owner: hour, observer: 0 },
    { who: 'the one that looks is behind', owner: 0, observer: -hour },
  ])('stays its own as long as it lives, when $who', async ({ owner, observer }) => {
    const go = Promise.withResolvers<void>();
    let runs = 0;
    const slow = handler('build', async () => {
      runs += 1;
      await go.promise;
    });
    await using one = await startEngine([slow], { path: path(), clock, engineClock: off(owner) });
    const id = await one.engine.submit('build', {});
    await clock.settle();
    const random = seededRandom(8);
    await using _two = await startEngine([slow], { path: path(), clock, engineClock: off(observer), random });
    await clock.advance(10 * limits.leaseMs);
    go.resolve();
    await clock.runUntil(one.engine.finished(id));
    expect(runs).toBe(1);
  });

  it('does not put work off until its own time', async () => {
    let runs = 0;
    const waits = handler('build', async (context) => {
      runs += 1;
      if (runs === 1) context.stepAside({ atLatestMs: 2_000 });
    });
    const ahead = await startEngine([waits], { path: path(), clock, engineClock: off(hour) });
    const id = await ahead.engine.submit('build', {});
    await clock.settle();
    await ahead[Symbol.asyncDispose]();
    expect(runs).toBe(1);
    await using other = await startEngine([waits], { path: path(), clock, random: seededRandom(8) });
    await clock.advance(2_000 + 2 * limits.heartbeatMs);
    expect(await other.engine.get(id)).toMatchObject({ state: 'succeeded' });
  });

  it('does not keep shards that it no longer watches, and keeps those that it watches', async () => {
    await using store = await Store.open(sqlite({ path: path() }), clock);
    const ahead = new Shards(store, off(hour), seededRandom(1));
    const other = new Shards(store, clock, seededRandom(2));
    expect((await ahead.take()).held.size).toBe(limits.healthShards);
    for (let beat = 0; beat < 10; beat += 1) {
      await clock.advance(limits.heartbeatMs);
      await ahead.take();
      expect((await other.take()).held.size).toBe(0);
    }
    await clock.advance(limits.leaseMs);
    expect((await other.take()).held.size).toBe(limits.healthShards);
  });

  it('does not keep a reservation that nobody renews, however long it was for, and keeps one that is', async () => {
    await using pool = await testPool();
    await pool.add({ kind: 'board', name: 'b', architectures: ['armv7'], slots: 1 });
    const leaseMs = 60_000;
    const { id } = await pool.reservations.request(boardRequest({ architecture: 'armv7' }), { holder: 'me', leaseMs });
    /** As one renews it whose clock is an hour ahead. */
    const renew = (): Promise<void> =>
      pool.store.transaction(async ({ db }) => {
        const expires_at = pool.clock.now() + hour + leaseMs;
        await db.updateTable('reservations').set({ expires_at }).where('id', '=', id).execute();
      });
    const far = new FarTimes(pool.clock);
    const look = async (): Promise<boolean> => {
      await endFarLeases(pool.store, far, pool.clock.now());
      return (await pool.reservations.get(id)).expiresAt <= pool.clock.now();
    };
    for (let beat = 0; beat < 10; beat += 1) {
      await renew();
      expect(await look()).toBe(false);
      await pool.clock.advance(leaseMs - 1);
      expect(await look()).toBe(false);
    }
    await pool.clock.advance(1);
    expect(await look()).toBe(true);
  });
});

describe('a time that lies too far ahead', () => {
  it('has not passed because the clock that looks at it was set', () => {
    let now = 1_000_000;
    const far = new FarTimes({ now: () => now, timer: () => ({ [Symbol.dispose]: () => undefined }) });
    const times = [{ key: 'a', at: 9_000_000, lengthMs: 15_000 }];
    expect(far.passed(times)).toEqual([]);
    now -= 500_000;
    expect(far.passed(times)).toEqual([]);
    now += 14_999;
    expect(far.passed(times)).toEqual([]);
    now += 1;
    expect(far.passed(times)).toEqual(times);
    // Who writes it anew begins anew, and so does one that was not seen in between.
    const renewed = [{ key: 'a', at: 9_000_001, lengthMs: 15_000 }];
    expect(far.passed(renewed)).toEqual([]);
    now += 15_000;
    expect(far.passed([])).toEqual([]);
    expect(far.passed(renewed)).toEqual([]);
  });
});
