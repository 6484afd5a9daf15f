import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { silentLogger, type LabEvent } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { EventFeed } from '../../src/store/feed.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';

const note = (name: string) => ({ id: name, kind: 'host' as const, name });

describe('the store', () => {
  it('refuses the outer handle inside a transaction, where it would wait for itself', async () => {
    await using store = await Store.open(sqlite(), fakeClock());
    await store.transaction(async () => {
      expect(() => store.db).toThrow(TypeError);
      await expect(store.transaction(async () => undefined)).rejects.toThrow(TypeError);
    });
    expect(() => store.db).not.toThrow();
  });

  it('says that it is closed once it is', async () => {
    const store = await Store.open(sqlite(), fakeClock());
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    expect(() => store.db).toThrow('closed');
  });

  it('commits only if what was asked meanwhile turns out well, and says what did not', async () => {
    await using store = await Store.open(sqlite(), fakeClock());
    const add = (name: string, ask: () => Promise<void>): Promise<void> =>
      store.transaction(async (tx) => {
        tx.commitsIf(ask());
        await tx.db.insertInto('facts').values({ name, value: 'x' }).execute();
      });
    const refused = add('refused', () => Promise.reject(new Error('there is no room')));
    await expect(refused).rejects.toThrow('there is no room');
    await add('allowed', async () => undefined);
    expect(await store.db.selectFrom('facts').select('name').execute()).toEqual([{ name: 'allowed' }]);
  });

  it('tells nobody of what was rolled back', async () => {
    await using store = await Store.open(sqlite(), fakeClock());
    const feed = new EventFeed({ store, clock: fakeClock(), logger: silentLogger });
    let woken = 0;
    using _listener = store.onCommit('events', () => (woken += 1));
    // PostgreSQL wakes all once it listens, for what it may not have heard before: that is no word of this.
    using _others = store.onCommit('elsewhere', () => (woken -= 1));
    const failing = store.transaction(async (tx) => {
      await tx.emit('resource:updated', 'a', note('a'));
      throw new Error('changed my mind');
    });
    await expect(failing).rejects.toThrow('changed my mind');
    expect([woken, await feed.cursor()]).toEqual([0, 0]);
  });
});

describe('the event feed', () => {
  it('gives events in the order of commits, those of another process included, from a cursor on', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-feed-'));
    const clock = fakeClock();
    try {
      await using here = await Store.open(sqlite({ path: join(folder, 'lab.db') }), clock);
      await using there = await Store.open(sqlite({ path: join(folder, 'lab.db') }), clock);
      using feed = new EventFeed({ store: here, clock, logger: silentLogger });
      for (const [index, store] of [here, there, there, here].entries()) {
        await store.transaction((tx) => tx.emit('resource:updated', `${index}`, note(`${index}`)));
      }
      const subjects = async (after: number): Promise<string[]> => {
        const found: string[] = [];
        for await (const event of feed.read({ after })) found.push(event.subject);
        return found;
      };
      expect(await subjects(0)).toEqual(['0', '1', '2', '3']);
      expect(await subjects(2)).toEqual(['2', '3']);
      const following = (async () => {
        for await (const event of feed.read({ after: 4, follow: true })) return event.subject;
        return undefined;
      })();
      await clock.settle();
      await there.transaction((tx) => tx.emit('resource:updated', 'late', note('late')));
      expect(await clock.runUntil(following)).toBe('late');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('goes on telling the others when a listener throws', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    using feed = new EventFeed({ store, clock, logger: silentLogger });
    const heard: LabEvent[] = [];
    using _bad = await feed.on('resource:updated', () => {
      throw new Error('a bad listener');
    });
    const good = await feed.on('*', (event) => void heard.push(event));
    await store.transaction((tx) => tx.emit('resource:updated', 'a', note('a')));
    await clock.settle();
    good[Symbol.dispose]();
    await store.transaction((tx) => tx.emit('resource:updated', 'b', note('b')));
    await clock.settle();
    expect(heard.map(({ subject }) => subject)).toEqual(['a']);
  });
});
