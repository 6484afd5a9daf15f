import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { limits } from '@bringup/core';
import { fakeClock, seededRandom, type FakeClock } from '@bringup/core/testing';
import { shardOf, Shards } from '../../src/health/shards.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

const all = limits.healthShards;

describe('the shards of the monitors', () => {
  let folder: string;
  let clock: FakeClock;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bringup-shards-'));
    clock = fakeClock();
  });
  afterEach(() => rm(folder, { recursive: true }));

  const open = (): Promise<Store> => Store.open(sqlite({ path: join(folder, 'lab.db') }), clock);
  /** What a beat of a monitor does. */
  const beat = async (shards: Shards): Promise<number> => {
    const { held, surplus } = await shards.take();
    await shards.release(surplus);
    return held.size - surplus.size;
  };

  it('are all of the one process that watches, and are divided when more do', async () => {
    await using one = await open();
    await using two = await open();
    const first = new Shards(one, clock, seededRandom(1));
    const second = new Shards(two, clock, seededRandom(2));
    expect(await beat(first)).toBe(all);
    expect(await beat(second)).toBe(0);
    expect(await beat(first)).toBe(all / 2);
    expect(await beat(second)).toBe(all / 2);
    await first.leave();
    expect(await beat(second)).toBe(all);
  });

  it('of a process that is not heard of are taken when its lease has run out, and it may not write any more', async () => {
    await using one = await open();
    await using two = await open();
    const first = new Shards(one, clock, seededRandom(1));
    const second = new Shards(two, clock, seededRandom(2));
    const id = 'some resource';
    expect(await beat(first)).toBe(all);
    expect((await one.transaction((tx) => first.guard(tx)))(id)).toBe(true);
    await beat(second);
    await clock.advance(limits.leaseMs - 1);
    expect(await beat(second)).toBe(0);
    await clock.advance(1);
    expect(await beat(second)).toBe(all);
    expect((await one.transaction((tx) => first.guard(tx)))(id)).toBe(false);
    expect((await two.transaction((tx) => second.guard(tx)))(id)).toBe(true);
    // It comes back, as one of two.
    expect(await beat(first)).toBe(0);
  });

  it('say what is new to a process, so that it need not look at everything at once', async () => {
    await using one = await open();
    const first = new Shards(one, clock, seededRandom(1));
    expect((await first.take()).added.size).toBe(all);
    expect((await first.take()).added.size).toBe(0);
  });

  it('are spread evenly over ids', () => {
    const counts = new Map<number, number>();
    for (let index = 0; index < 10_000; index += 1) {
      const shard = shardOf(`01J${index.toString(36)}`);
      counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    expect(counts.size).toBe(all);
    for (const count of counts.values()) expect(count / (10_000 / all)).toBeLessThan(1.5);
  });

  it('never belong to two, and to somebody each once all have looked twice, whoever comes, goes and dies', async () => {
    const act = fc.record({ who: fc.nat(4), what: fc.constantFrom('beat', 'leave', 'die', 'wait') });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 30 }), async (acts) => {
        await using store = await Store.open(sqlite(), clock);
        const processes = Array.from({ length: 5 }, (_, index) => new Shards(store, clock, seededRandom(index)));
        const here = new Set<number>();
        const owners = async (): Promise<readonly number[]> => {
          const guards = await Promise.all(processes.map((shards) => store.transaction((tx) => shards.guard(tx))));
          return ids.map((id) => guards.filter((mayWrite) => mayWrite(id)).length);
        };
        for (const { who, what } of acts) {
          const shards = processes[who];
          if (shards === undefined) continue;
          if (what === 'beat') {
            here.add(who);
            await beat(shards);
          } else if (what === 'leave') {
            here.delete(who);
            await shards.leave();
          } else if (what === 'die') here.delete(who);
          else await clock.advance(limits.leaseMs / 3);
          expect(Math.max(...(await owners()))).toBeLessThanOrEqual(1);
        }
        if (here.size === 0) return;
        await clock.advance(limits.leaseMs);
        for (let round = 0; round < 3; round += 1) {
          for (const who of here) await beat(processes[who] as Shards);
        }
        expect(new Set(await owners())).toEqual(new Set([1]));
      }),
      { numRuns: 100 },
    );
  });
});

/** One id in each shard. */
const ids: readonly string[] = (() => {
  const found = new Map<number, string>();
  for (let index = 0; found.size < all; index += 1) found.set(shardOf(`${index}`), `${index}`);
  return [...found.values()];
})();
