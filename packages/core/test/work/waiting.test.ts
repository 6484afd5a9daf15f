import { describe, expect, it } from 'vitest';
import { fakeClock, MemoryDatabase, sqliteError } from '@bringup/core/testing';
import { Store } from '../../src/store/store.ts';
import { wake } from '../../src/work/queue.ts';
import { handler, startEngine } from '../support/engine.ts';

const topic = 'capacity:host';

describe('waiting work', () => {
  it('goes on when what it waits for happens', async () => {
    let free = false;
    await using t = await startEngine([
      handler('build', async (context) => {
        await context.transaction((tx) => context.expectIn(tx, topic));
        if (free) return 'got it';
        return context.stepAside({ wakeOn: topic });
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await t.clock.settle();
    free = true;
    await t.store.transaction((tx) => wake(tx, topic));
    await t.clock.settle();
    expect(await t.engine.get(id)).toMatchObject({ state: 'succeeded', output: 'got it' });
  });

  it('stays as it was when the disk is full, and the process goes on', async () => {
    let full = false;
    const onStatement = (sql: string): void => {
      if (full && sql.startsWith('update')) throw sqliteError(13, 'database or disk is full');
    };
    await using store = await Store.open((await MemoryDatabase.open()).access({ onStatement }), fakeClock());
    full = true;
    // An error that nobody waits for would end the process, and fails the suite.
    await expect(store.transaction((tx) => wake(tx, topic))).rejects.toMatchObject({ code: 'store-failed' });
    full = false;
    await store.transaction((tx) => wake(tx, topic));
  });

  it('misses nothing that happens between its look and its stepping aside', async () => {
    let free = false;
    const looked = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    await using t = await startEngine([
      handler('build', async (context) => {
        await context.transaction((tx) => context.expectIn(tx, topic));
        if (free) return 'got it';
        looked.resolve();
        await goOn.promise;
        return context.stepAside({ wakeOn: topic });
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await looked.promise;
    free = true;
    await t.store.transaction((tx) => wake(tx, topic));
    goOn.resolve();
    await t.clock.settle();
    expect(await t.engine.get(id)).toMatchObject({ state: 'succeeded' });
  });

  it('looks by itself at the latest when it said it would', async () => {
    const at: number[] = [];
    await using t = await startEngine([
      handler('build', async (context) => {
        at.push(context.clock.now());
        if (at.length < 3) context.stepAside({ atLatestMs: 5_000 });
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await t.clock.runUntil(t.engine.finished(id));
    expect(at.map((time) => time - (at[0] ?? 0))).toEqual([0, 5_000, 10_000]);
  });

  it('starts a child once, however often it runs', async () => {
    let runs = 0;
    await using t = await startEngine([
      handler('pipeline', async (context) => {
        const first = await context.child('a', 'build', 1);
        const second = await context.child('b', 'build', 2);
        return [first.output, second.output];
      }),
      handler('build', async (_context, input: never) => {
        runs += 1;
        return (input as number) * 10;
      }),
    ]);
    const id = await t.engine.submit('pipeline', {});
    expect(await t.clock.runUntil(t.engine.finished(id))).toMatchObject({ output: [10, 20] });
    expect(runs).toBe(2);
  });
});
