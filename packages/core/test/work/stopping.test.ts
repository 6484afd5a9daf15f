import { describe, expect, it } from 'vitest';
import { BringupError } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { handler, startEngine, untilStopped } from '../support/engine.ts';

const topic = 'capacity:host';

describe('stopping work', () => {
  it('ends at once what has not begun', async () => {
    await using t = await startEngine([]);
    const id = await t.engine.submit('build', {});
    await t.engine.cancel(id, 'nobody wants it');
    expect(await t.engine.get(id)).toMatchObject({
      state: 'cancelled',
      error: { code: 'aborted', message: 'nobody wants it' },
    });
  });

  it('tells what runs, lets it clean up, and then it is cancelled', async () => {
    const said: string[] = [];
    await using t = await startEngine([
      handler('build', (context) => untilStopped(context.signal), {
        cleanUp: async (_context, error) => void said.push(error.code),
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await t.clock.settle();
    await t.engine.cancel(id);
    expect(await t.clock.runUntil(t.engine.finished(id))).toMatchObject({ state: 'cancelled' });
    expect(said).toEqual(['aborted']);
  });

  it('reaches what waits for capacity that never comes', async () => {
    await using t = await startEngine([
      handler('build', async (context) => {
        await context.transaction((tx) => context.expectIn(tx, topic));
        return context.stepAside({ wakeOn: topic });
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await t.clock.settle();
    expect(await t.engine.get(id)).toMatchObject({ state: 'waiting' });
    await t.engine.cancel(id);
    await t.clock.settle();
    expect(await t.engine.get(id)).toMatchObject({ state: 'cancelled' });
  });

  it('reaches an item that steps aside at that very moment', async () => {
    const looked = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    await using t = await startEngine([
      handler('build', async (context) => {
        await context.transaction((tx) => context.expectIn(tx, topic));
        looked.resolve();
        await goOn.promise;
        return context.stepAside({ wakeOn: topic });
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await looked.promise;
    await t.engine.cancel(id);
    goOn.resolve();
    await t.clock.settle();
    expect(await t.engine.get(id)).toMatchObject({ state: 'cancelled' });
  });

  it('of a parent stops its children first, those it starts at that very moment included', async () => {
    const order: string[] = [];
    const mayStart = Promise.withResolvers<void>();
    await using t = await startEngine([
      handler(
        'pipeline',
        async (context, late: never) => {
          if (late === true) await mayStart.promise;
          await context.child('build', 'build', {});
        },
        { cleanUp: async () => void order.push('parent') },
      ),
      handler('build', (context) => untilStopped(context.signal), { cleanUp: async () => void order.push('child') }),
    ]);
    const early = await t.engine.submit('pipeline', false);
    await t.clock.settle();
    await t.engine.cancel(early);
    expect(await t.clock.runUntil(t.engine.finished(early))).toMatchObject({ state: 'cancelled' });
    expect(order).toEqual(['child', 'parent']);
    const late = await t.engine.submit('pipeline', true);
    await t.clock.settle();
    await t.store.transaction(async (tx) => {
      await tx.db
        .updateTable('work_items')
        .set({ stop_reason: '{"code":"aborted","message":"x","retryable":false,"details":{}}' })
        .where('id', '=', late)
        .execute();
    });
    mayStart.resolve();
    await t.clock.settle();
    expect(await t.engine.children(late)).toEqual([]);
    expect(await t.engine.get(late)).toMatchObject({ state: 'cancelled' });
  });

  it('by a deadline reaches the children too, and never keeps the engine spinning', async () => {
    let turns = 0;
    const slowEnd = Promise.withResolvers<void>();
    await using t = await startEngine([
      handler(
        'pipeline',
        async (context) => {
          turns += 1;
          await context.child('build', 'build', {});
        },
        { cleanUp: async () => void (turns += 1) },
      ),
      handler('build', (context) => untilStopped(context.signal), { cleanUp: () => slowEnd.promise }),
    ]);
    const id = await t.engine.submit('pipeline', {}, { timeoutMs: 10_000 });
    await t.clock.advance(40_000);
    expect(turns).toBeLessThan(3);
    slowEnd.resolve();
    expect(await t.clock.runUntil(t.engine.finished(id))).toMatchObject({
      state: 'failed',
      error: { code: 'deadline-exceeded' },
    });
    expect((await t.engine.children(id)).map(({ item }) => item.state)).toEqual(['failed']);
  });

  it('of a parent that failed leaves no child running', async () => {
    await using t = await startEngine([
      handler('pipeline', async (context) => {
        if (context.checkpoint === undefined) {
          await context.save({ begun: true });
          await context.child('build', 'build', {});
        }
        throw new BringupError('no-match', 'gave up');
      }),
      handler('build', (context) => untilStopped(context.signal)),
    ]);
    const id = await t.engine.submit('pipeline', {});
    await t.clock.settle();
    await t.store.transaction(async (tx) => {
      await tx.db.updateTable('work_items').set({ state: 'queued' }).where('id', '=', id).execute();
      tx.wake('work');
    });
    expect(await t.clock.runUntil(t.engine.finished(id))).toMatchObject({
      state: 'failed',
      error: { code: 'no-match' },
    });
    expect((await t.engine.children(id)).map(({ item }) => item.state)).toEqual(['cancelled']);
  });

  it('does not stop what puts things back in order', async () => {
    const go = Promise.withResolvers<void>();
    await using t = await startEngine([handler('release', async () => go.promise, { uncancellable: true })]);
    const id = await t.engine.submit('release', {});
    await t.clock.settle();
    await t.engine.cancel(id);
    go.resolve();
    expect(await t.clock.runUntil(t.engine.finished(id))).toMatchObject({ state: 'succeeded' });
  });

  it('interrupts a clean-up when the engine shuts down, and does it again in the next', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    let cleanUps = 0;
    const failing = handler('build', async () => Promise.reject(new BringupError('build-failed', 'no')), {
      cleanUp: async (_context, error, signal) => {
        cleanUps += 1;
        expect(error.code).toBe('build-failed');
        if (cleanUps === 1) await untilStopped(signal);
      },
    });
    const first = await startEngine([failing], { clock, store });
    const id = await first.engine.submit('build', {});
    await clock.settle();
    await first[Symbol.asyncDispose]();
    await using next = await startEngine([failing], { clock, store });
    expect(await clock.runUntil(next.engine.finished(id))).toMatchObject({
      state: 'failed',
      error: { code: 'build-failed' },
    });
    expect(cleanUps).toBe(2);
  });
});
