import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fakeClock } from '@bringup/core/testing';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import type { Topic } from '../../src/store/topics.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'bringup-signal-'));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

// A clock that stands still: nothing is found by looking now and then.
const open = (): Promise<Store> => Store.open(sqlite({ path: path.join(folder, 'lab.db') }), fakeClock());

const write = (store: Store, id: string, topic?: Topic): Promise<void> =>
  store.transaction(async (tx) => {
    await tx.db.insertInto('logs').values({ id, size_bytes: 0, ended: 0 }).execute();
    if (topic !== undefined) tx.wake(topic);
  });

describe('two processes on one database', () => {
  it('hear of each other’s commits at once, whichever came first', async () => {
    await using here = await open();
    await using there = await open();
    for (const [from, to] of [
      [here, there],
      [there, here],
    ] as const) {
      const { promise: heard, resolve } = Promise.withResolvers<void>();
      using _waiting = to.onCommit('work', resolve);
      await write(from, from === here ? 'a' : 'b', 'work');
      await heard;
    }
    expect((await there.db.selectFrom('logs').select('id').orderBy('id').execute()).map(({ id }) => id)).toEqual([
      'a',
      'b',
    ]);
  });

  it('are not woken by themselves, nor by what nobody waits for', async () => {
    await using here = await open();
    await using there = await open();
    let heard = 0;
    const { promise: second, resolve } = Promise.withResolvers<void>();
    using _waiting = here.onCommit('work', () => {
      heard += 1;
      if (heard === 2) resolve();
    });
    await write(here, 'own', 'work');
    await write(there, 'quiet');
    await write(there, 'loud', 'work');
    await second;
    expect(heard).toBe(2);
  });
});
