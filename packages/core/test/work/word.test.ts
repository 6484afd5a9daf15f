import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { fakeClock, type FakeClock } from '@bringup/core/testing';
import type { StoreProvider } from '../../src/store/provider.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import type { Topic } from '../../src/store/topics.ts';
import { handler, startEngine, untilStopped, type TestEngine } from '../support/engine.ts';

/** Word of commits as PostgreSQL carries it: what was told, and a way to tell. */
class Word {
  readonly told: Topic[] = [];
  readonly #heard = new Set<(topics?: readonly Topic[]) => void>();

  /** A database with this word of its commits. */
  carriedFor(path: string): StoreProvider {
    return {
      open: async () => ({
        ...(await sqlite({ path }).open()),
        signal: {
          tell: () => undefined,
          tellWith: async (transaction, topics, events) => {
            this.told.push(...topics);
            await events.addWith(transaction);
          },
          listen: (heard) => {
            this.#heard.add(heard);
            return { [Symbol.dispose]: () => this.#heard.delete(heard) };
          },
        },
      }),
    };
  }

  comes(topics?: readonly Topic[]): void {
    for (const heard of this.#heard) heard(topics);
  }

  /** Since it was asked for last: which work was left to others. */
  takeReady(): Topic[] {
    return this.told.splice(0).filter((topic) => topic.startsWith('ready:'));
  }
}

describe('processes that share a database which says what was committed', () => {
  let file = '';
  let word: Word;
  let clock: FakeClock;
  beforeEach(async () => {
    file = join(await mkdtemp(join(tmpdir(), 'bringup-word-')), 'lab.db');
    word = new Word();
    clock = fakeClock();
  });
  afterEach(() => rm(join(file, '..'), { recursive: true, force: true }));

  const open = (): Promise<Store> => Store.open(word.carriedFor(file), clock);
  const builds = (
    store: Store,
    act: (signal: AbortSignal) => Promise<unknown> = async () => undefined,
  ): Promise<TestEngine> => startEngine([handler('build', (context) => act(context.signal))], { clock, store });

  /** A process that only submits. */
  async function submitter(): Promise<TestEngine> {
    const quiet = await Store.open(sqlite({ path: file }), clock);
    const engine = await startEngine([], { clock, store: quiet });
    return { ...engine, [Symbol.asyncDispose]: () => quiet[Symbol.asyncDispose]() };
  }

  it('leave to others only what they don’t do themselves', async () => {
    await using store = await open();
    await using t = await builds(store);
    await t.engine.finished(await t.engine.submit('build', {}));
    expect(word.takeReady()).toEqual([]);
    await t.engine.submit('flash', {});
    expect(word.takeReady()).toEqual(['ready:flash']);
  });

  it('leave to others what they have no room for, and what they hand back when they end', async () => {
    await using store = await open();
    const t = await builds(store, untilStopped);
    for (let i = 0; i < limits.workConcurrency - 1; i += 1) await t.engine.submit('build', {});
    expect(word.takeReady()).toEqual([]);
    // The first takes the last place.
    for (let i = 0; i < 2; i += 1) await t.engine.submit('build', {});
    expect(word.takeReady()).toEqual(['ready:build']);
    const items = await store.db.selectFrom('work_items').select(['state']).execute();
    expect(items.filter(({ state }) => state === 'queued')).toHaveLength(1);
    await t[Symbol.asyncDispose]();
    expect(word.takeReady()).toEqual(Array.from({ length: limits.workConcurrency }, () => 'ready:build'));
  });

  it('claim what they are told of, and look for nothing when they are told of something else', async () => {
    await using store = await open();
    await using t = await builds(store);
    await using other = await submitter();
    const id = await other.engine.submit('build', {});
    // Time stands still: only word can have it found.
    word.comes(['events', 'work', 'ready:flash']);
    await clock.settle();
    expect(await t.engine.get(id)).toMatchObject({ state: 'queued' });
    word.comes(['events', 'work', 'ready:build']);
    expect(await t.engine.finished(id)).toMatchObject({ state: 'succeeded' });
  });

  it('look for themselves when word does not say of what', async () => {
    await using store = await open();
    await using t = await builds(store);
    await using other = await submitter();
    const id = await other.engine.submit('build', {});
    word.comes();
    expect(await t.engine.finished(id)).toMatchObject({ state: 'succeeded' });
  });
});
