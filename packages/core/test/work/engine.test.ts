import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BringupError, limits, systemClock } from '@bringup/core';
import { fakeClock, seededRandom } from '@bringup/core/testing';
import { wake } from '../../src/work/queue.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { handler, startEngine, untilStopped } from '../support/engine.ts';

const topic = 'capacity:host';

describe('durable work', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'bringup-work-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is done once, however many engines share the database', async () => {
    const path = join(folder, 'lab.db');
    const clock = fakeClock();
    const runs: string[] = [];
    const build = (who: string) => handler('build', async (context) => void runs.push(`${context.id} by ${who}`));
    const engines = await Promise.all(
      ['a', 'b', 'c'].map((who, index) => startEngine([build(who)], { path, clock, random: seededRandom(index) })),
    );
    const [first] = engines;
    if (first === undefined) throw new Error('no engine');
    const ids = await Promise.all(Array.from({ length: 30 }, () => first.engine.submit('build', {})));
    await clock.runUntil(Promise.all(ids.map((id) => first.engine.finished(id))));
    expect(runs.length).toBe(30);
    expect(new Set(runs.map((run) => run.split(' ')[0]))).toEqual(new Set(ids));
    for (const engine of engines) await engine[Symbol.asyncDispose]();
  });

  it('goes by priority, then by age', async () => {
    const order: unknown[] = [];
    await using idle = await startEngine([]);
    for (const [name, priority] of [
      ['old', 0],
      ['new', 0],
      ['urgent', 5],
    ] as const) {
      await idle.engine.submit('build', name, { priority });
    }
    await using busy = await startEngine([handler('build', async (_context, input) => void order.push(input))], idle);
    await busy.clock.settle();
    expect(order).toEqual(['urgent', 'old', 'new']);
  });

  it('stays with an engine that renews its lease, however long it takes', async () => {
    const clock = fakeClock();
    let runs = 0;
    const go = Promise.withResolvers<void>();
    const slow = handler('build', async () => {
      runs += 1;
      await go.promise;
    });
    const path = join(folder, 'lab.db');
    await using one = await startEngine([slow], { path, clock });
    await using _two = await startEngine([slow], { path, clock, random: seededRandom(8) });
    const id = await one.engine.submit('build', {});
    await clock.advance(10 * limits.leaseMs);
    go.resolve();
    await clock.runUntil(one.engine.finished(id));
    expect(runs).toBe(1);
  });

  it('is taken over with its checkpoint once the lease has run out, and the old owner writes no more', async () => {
    const clock = fakeClock();
    const stuck = Promise.withResolvers<void>();
    const lateWrites: unknown[] = [];
    const path = join(folder, 'lab.db');
    // Timers that never fire: this engine is held up and does not renew its lease.
    const frozen = { now: () => clock.now(), timer: () => ({ [Symbol.dispose]: () => undefined }) };
    await using held = await startEngine(
      [
        handler<string>('build', async (context) => {
          await context.save('halfway');
          await stuck.promise;
          for (const write of [() => context.save('late'), () => context.phase('late'), () => context.guard()]) {
            lateWrites.push(
              await write().then(
                () => 'written',
                (error: BringupError) => error.code,
              ),
            );
          }
        }),
      ],
      { path, clock, engineClock: frozen },
    );
    const id = await held.engine.submit('build', {});
    await clock.settle();
    const resumed: unknown[] = [];
    await using other = await startEngine(
      [
        handler<string>('build', async (context) => {
          resumed.push([context.checkpoint, context.takeovers]);
          return 'done';
        }),
      ],
      { path, clock, random: seededRandom(8) },
    );
    await clock.advance(limits.leaseMs - 1_000);
    expect(resumed).toEqual([]);
    const item = await clock.runUntil(other.engine.finished(id));
    stuck.resolve();
    await clock.settle();
    expect(resumed).toEqual([['halfway', 1]]);
    expect(lateWrites).toEqual(['lease-lost', 'lease-lost', 'lease-lost']);
    expect(item).toMatchObject({ state: 'succeeded', output: 'done', takeovers: 1 });
  });

  it('that its own engine was granted anew is not written by the run that was too slow', async () => {
    const late = Promise.withResolvers<unknown>();
    const goOn = Promise.withResolvers<void>();
    let runs = 0;
    await using t = await startEngine([
      handler('build', async (context) => {
        runs += 1;
        if (runs > 1) return untilStopped(context.signal);
        await goOn.promise;
        late.resolve(
          await context.save('late').then(
            () => 'written',
            (error: BringupError) => error.code,
          ),
        );
        return 'late';
      }),
    ]);
    const id = await t.engine.submit('build', {});
    await t.clock.settle();
    await t.store.transaction(async (tx) => {
      await tx.db.updateTable('work_items').set({ lease_until: t.clock.now() }).where('id', '=', id).execute();
    });
    await t.clock.advance(limits.workPollMs);
    goOn.resolve();
    expect(await late.promise).toBe('lease-lost');
    await t.clock.advance(2 * limits.leaseMs);
    expect([runs, (await t.engine.get(id)).state]).toEqual([2, 'running']);
  });

  it('of a dead process of this machine is taken over at once, without waiting for the lease', async () => {
    const path = join(folder, 'lab.db');
    await using store = await Store.open(sqlite({ path }), systemClock);
    const script = fileURLToPath(new URL('../support/claim-and-hang.ts', import.meta.url));
    const child = spawn(process.execPath, ['--conditions=bringup-source', script, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const idle = await startEngine([], { store });
    const id = await idle.engine.submit('build', {});
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'close');
    // Simulated time stands before the lease the child took, so only its death can free the item.
    await using engine = await startEngine([handler('build', async (context) => context.checkpoint)], { store });
    const item = await engine.clock.runUntil(engine.engine.finished(id));
    expect(item).toMatchObject({ state: 'succeeded', output: { reached: 'the middle' }, takeovers: 1 });
    await idle[Symbol.asyncDispose]();
  });

  it('is given up after too many processes died of it', async () => {
    let runs = 0;
    await using t = await startEngine([handler('build', async () => (runs += 1))]);
    await t.store.transaction(async ({ db }) => {
      await db
        .insertInto('work_items')
        .values({
          id: 'poison',
          kind: 'build',
          state: 'queued',
          phase: null,
          input: '{}',
          checkpoint: null,
          output: null,
          error: null,
          parent_id: null,
          child_key: null,
          wake_on: null,
          priority: 0,
          run_after: 0,
          deadline_at: null,
          stop_reason: null,
          takeovers: limits.workMaxTakeovers + 1,
          owner: null,
          lease_until: null,
          fence: 0,
          created_at: 0,
          started_at: null,
          finished_at: null,
        })
        .execute();
    });
    const item = await t.clock.runUntil(t.engine.finished('poison'));
    expect(item).toMatchObject({ state: 'failed', error: { code: 'process-lost' } });
    expect(runs).toBe(0);
  });

  it('is handed back when the engine shuts down, and goes on in the next', async () => {
    const clock = fakeClock();
    await using store = await Store.open(sqlite(), clock);
    const first = await startEngine(
      [handler<string>('build', async (c) => (await c.save('half'), untilStopped(c.signal)))],
      { clock, store },
    );
    const id = await first.engine.submit('build', {});
    await clock.settle();
    await first[Symbol.asyncDispose]();
    expect(await first.engine.get(id)).toMatchObject({ state: 'queued', takeovers: 0 });
    await using next = await startEngine([handler('build', async (c) => c.checkpoint)], { clock, store });
    await clock.settle();
    expect(await next.engine.get(id)).toMatchObject({ state: 'succeeded', output: 'half' });
  });
});

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
