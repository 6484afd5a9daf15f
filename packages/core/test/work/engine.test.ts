import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BringupError, limits, systemClock } from '@bringup/core';
import { fakeClock, seededRandom } from '@bringup/core/testing';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { addItem } from '../../src/work/queue-queries.ts';
import { toRow } from '../../src/work/queue.ts';
import { handler, startEngine, untilStopped } from '../support/engine.ts';

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

  it('is no failure when the database was away for a moment: it goes on once the lease has run out', async () => {
    const away = new BringupError('store-failed', 'the connection was lost', {
      retryable: true,
      details: { reason: 'connection' },
    });
    const checkpoints: unknown[] = [];
    await using t = await startEngine([
      handler('build', async (context) => {
        checkpoints.push(context.checkpoint);
        await context.save('half');
        if (checkpoints.length === 1) throw away;
        return 'done';
      }),
    ]);
    const id = await t.engine.submit('build', {});
    const item = await t.clock.runUntil(t.engine.finished(id));
    expect([item.state, checkpoints]).toEqual(['succeeded', [undefined, 'half']]);
  });

  it('is given up after too many processes died of it', async () => {
    let runs = 0;
    await using t = await startEngine([handler('build', async () => (runs += 1))]);
    const queued = toRow({ id: 'poison', kind: 'build', input: {} }, 0);
    await t.store.transaction(({ db }) => addItem(db, { ...queued, takeovers: limits.workMaxTakeovers + 1 }));
    const item = await t.clock.runUntil(t.engine.finished('poison'));
    expect(item).toMatchObject({ state: 'failed', error: { code: 'process-lost' } });
    expect(runs).toBe(0);
  });

  it('does nothing more in a process that stood still for longer than its lease while it looked whether it had one', async () => {
    const clock = fakeClock();
    let stoodMs = 0;
    const engineClock = { ...clock, now: () => clock.now() + stoodMs, timer: clock.timer.bind(clock) };
    const acted: string[] = [];
    const build = handler('build', async (context) => {
      const looking = context.guard();
      stoodMs = acted.length === 0 ? limits.leaseMs : stoodMs;
      acted.push('looked');
      await looking;
      acted.push('acted');
    });
    await using t = await startEngine([build], { clock, engineClock });
    const id = await t.engine.submit('build', {});
    expect(await clock.runUntil(t.engine.finished(id))).toMatchObject({ state: 'succeeded', takeovers: 1 });
    expect(acted).toEqual(['looked', 'looked', 'acted']);
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
