import fc from 'fast-check';
import { assert, describe, expect, it } from 'vitest';
import { limits, type CapacityRequest } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';
import { release, renewHeld } from '../../src/pool/reservations.ts';
import { tendWaitingList } from '../../src/pool/waiting-upkeep.ts';
import { boardRequest, vmRequest } from '../../src/selection/requests.ts';
import { kernelBuild, repositories } from '../support/requests.ts';
import { testPool, type TestPool } from '../support/pool.ts';

const board = boardRequest({ architecture: 'armv7' });
const vm = (cpus: number): CapacityRequest => vmRequest({ architecture: 'arm64', minCpuCores: cpus, minMemoryMb: 1 });

async function oneBoard(): Promise<TestPool & { readonly id: string }> {
  const pool = await testPool();
  return { ...pool, id: await pool.add({ kind: 'board', name: 'b', architectures: ['armv7'], slots: 1 }) };
}

describe('a request that finds nothing free', () => {
  it('R13.5: waits, and has the resource as soon as it is given back', async () => {
    await using pool = await oneBoard();
    const first = await pool.reservations.request(board, { holder: 'first' });
    const waiting = pool.reservations.request(board, { holder: 'second' });
    await pool.clock.settle();
    expect(await pool.reservations.listWaiting()).toMatchObject([{ holder: 'second', kind: 'board', position: 1 }]);
    await pool.reservations.release(first.id);
    const second = await pool.clock.runUntil(waiting);
    expect(second).toMatchObject({ holder: 'second', resourceId: pool.id, fence: first.fence + 1 });
    expect(await pool.reservations.listWaiting()).toEqual([]);
  });

  it('is not overtaken by one that comes when the resource is given back', async () => {
    await using pool = await oneBoard();
    const first = await pool.reservations.request(board, { holder: 'first' });
    const waiting = pool.reservations.request(board, { holder: 'second' });
    await pool.clock.settle();
    const [, late] = await Promise.all([pool.reservations.release(first.id), pool.selection.reserve(board, 'late')]);
    expect(late).toMatchObject({ success: false, temporary: true });
    expect(await pool.clock.runUntil(waiting)).toMatchObject({ holder: 'second' });
  });

  it('goes before those of lower priority, and after those that are older by more than the priority is worth', async () => {
    await using pool = await oneBoard();
    const order: string[] = [];
    const use = async (holder: string, priority: number): Promise<void> => {
      const reservation = await pool.reservations.request(board, { holder, priority });
      order.push(holder);
      await pool.reservations.release(reservation.id);
    };
    const held = await pool.reservations.request(board, { holder: 'holder', leaseMs: 2 * limits.waitingMs });
    const all = [use('old', 0)];
    await pool.clock.advance(limits.waitingPriorityMs + 1);
    all.push(use('normal', 0));
    await pool.clock.settle();
    all.push(use('urgent', 1));
    await pool.clock.settle();
    await pool.reservations.release(held.id);
    await pool.clock.runUntil(Promise.all(all));
    expect(order).toEqual(['old', 'urgent', 'normal']);
  });

  it('leaves the list when its caller stops waiting, whether by abort or in time', async () => {
    await using pool = await oneBoard();
    await pool.reservations.request(board, { holder: 'first', leaseMs: limits.waitingMs });
    const stop = new AbortController();
    const aborted = pool.reservations.request(board, { holder: 'second', signal: stop.signal });
    const late = pool.reservations.request(board, { holder: 'third', timeoutMs: 60_000 });
    const outcomes = Promise.allSettled([aborted, late]);
    await pool.clock.settle();
    stop.abort();
    await pool.clock.advance(60_000);
    expect(await outcomes).toMatchObject([
      { reason: { code: 'aborted' } },
      { reason: { code: 'deadline-exceeded', details: { timeoutMs: 60_000 } } },
    ]);
    expect(await pool.reservations.listWaiting()).toEqual([]);
  });

  it('can be cancelled by its id', async () => {
    await using pool = await oneBoard();
    await pool.reservations.request(board, { holder: 'first' });
    const waiting = pool.reservations.request(board, { holder: 'second' });
    const outcome = Promise.allSettled([waiting]);
    await pool.clock.settle();
    const [{ id } = { id: '' }] = await pool.reservations.listWaiting({ holder: 'second' });
    await pool.reservations.cancelWaiting(id);
    await pool.clock.advance(1_000);
    expect(await outcome).toMatchObject([{ reason: { code: 'aborted', details: { requestId: id } } }]);
    await expect(pool.reservations.getWaiting(id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it('says that its time is over, too, when another process was quicker to take it off the list', async () => {
    await using pool = await oneBoard();
    await pool.reservations.request(board, { holder: 'first' });
    // Due at the same time, and before the request's own.
    using _other = pool.clock.timer(60_000, () => void pool.reservations.cancelWaiting('second-request'));
    const waiting = pool.reservations.request(board, { holder: 'second', id: 'second-request', timeoutMs: 60_000 });
    const outcome = Promise.allSettled([waiting]);
    await pool.clock.advance(60_000);
    expect(await outcome).toMatchObject([{ reason: { code: 'deadline-exceeded', details: { timeoutMs: 60_000 } } }]);
  });

  it('keeps its place when its caller dies; what is granted to nobody passes on to the next', async () => {
    await using pool = await oneBoard();
    const held = await pool.reservations.request(board, { holder: 'first' });
    const ask = (holder: string, id: string) =>
      pool.store.transaction((tx) => pool.selection.obtain(tx, { id, request: board, holder, priority: 0 }));
    await ask('dead', 'd');
    await ask('alive', 'a');
    await pool.reservations.release(held.id);
    expect(await pool.reservations.list()).toMatchObject([{ id: 'd', holder: 'dead' }]);
    await pool.clock.advance(limits.reservationMs);
    for (const { id } of await renewHeld(pool.store, pool.clock.now())) {
      await pool.store.transaction((tx) => release(tx, id, 'expired'));
    }
    expect(await pool.clock.runUntil(pool.reservations.request(board, { holder: 'alive', id: 'a' }))).toMatchObject({
      id: 'a',
      holder: 'alive',
    });
    await tendWaitingList(pool.store, pool.clock);
    expect(await pool.store.db.selectFrom('waiting').selectAll().execute()).toEqual([]);
  });

  it('goes on in its place when its caller comes back with its id, and finds what it was granted meanwhile', async () => {
    await using pool = await oneBoard();
    const first = await pool.reservations.request(board, { holder: 'first' });
    const dead = pool.reservations.request(board, { holder: 'second', id: 'mine' });
    const back = pool.reservations.request(board, { holder: 'second', id: 'mine' });
    await pool.clock.settle();
    expect(await pool.reservations.listWaiting()).toMatchObject([{ id: 'mine' }]);
    await pool.reservations.release(first.id);
    const granted = await pool.clock.runUntil(back);
    expect(granted).toMatchObject({ id: 'mine', resourceId: pool.id });
    expect(await pool.clock.runUntil(dead)).toEqual(granted);
    expect(await pool.clock.runUntil(pool.reservations.request(board, { holder: 'second', id: 'mine' }))).toEqual(
      granted,
    );
  });

  it('with the id of somebody else’s request is refused, and takes nothing from them', async () => {
    await using pool = await oneBoard();
    const first = await pool.reservations.request(board, { holder: 'first' });
    const waiting = pool.reservations.request(board, { holder: 'second', id: 'theirs' });
    await pool.clock.settle();
    for (const id of [first.id, 'theirs']) {
      await expect(pool.reservations.request(board, { holder: 'thief', id })).rejects.toMatchObject({
        code: 'conflict',
      });
    }
    expect(await pool.reservations.get(first.id)).toEqual(first);
    await pool.reservations.release(first.id);
    expect(await pool.clock.runUntil(waiting)).toMatchObject({ id: 'theirs' });
  });

  it('E-no-match: fails at once when nothing can ever fit, and later when what could fit is gone', async () => {
    await using pool = await oneBoard();
    await expect(pool.reservations.request(vm(1), { holder: 'x' })).rejects.toMatchObject({
      code: 'no-match',
      details: { suggestions: ['register a host that serves arm64'] },
    });
    await pool.reservations.request(board, { holder: 'first' });
    const waiting = pool.reservations.request(board, { holder: 'second' });
    const outcome = Promise.allSettled([waiting]);
    await pool.clock.settle();
    await pool.pool('board').remove(pool.id, { force: true });
    await pool.clock.advance(1_000);
    expect(await outcome).toMatchObject([{ reason: { code: 'no-match' } }]);
  });

  it('has a resource held back for it once it has waited long, and no longer than it waits', async () => {
    await using pool = await testPool();
    const id = await pool.add({ kind: 'host', name: 'h', architectures: ['arm64'], cpuCores: 4 });
    const forLong = { leaseMs: limits.waitingMs };
    const [one, two] = [
      await pool.reservations.request(vm(2), { holder: 'one', ...forLong }),
      await pool.reservations.request(vm(2), { holder: 'two', ...forLong }),
    ];
    const stop = new AbortController();
    const big = Promise.allSettled([pool.reservations.request(vm(4), { holder: 'big', signal: stop.signal })]);
    await pool.clock.settle();
    await pool.reservations.release(one.id);
    expect(await pool.selection.reserve(vm(2), 'young')).toMatchObject({ success: true });
    await pool.clock.advance(limits.waitingHoldBackMs);
    await pool.reservations.release(two.id);
    expect(await pool.reservations.listWaiting()).toMatchObject([{ holder: 'big', heldBackId: id }]);
    expect(await pool.selection.reserve(vm(2), 'small')).toMatchObject({
      success: false,
      temporary: true,
      rejections: [{ reasons: [{ requirement: 'turn' }] }],
    });
    expect(await pool.selection.reserve(vm(2), 'urgent', { priority: 1 })).toMatchObject({ success: true });
    stop.abort();
    await big;
    expect(await pool.selection.reserve(vm(2), 'small')).toMatchObject({ success: false });
    expect((await pool.pool('host').row(id)).held_rank).toBeNull();
  });
});

describe('a build that waits', () => {
  it('R2.5, R13.5: is listed with its position and an estimated wait, and leaves the list when it is cancelled', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer({ maxConcurrentBuilds: 1 });
    const builds = [];
    for (let n = 0; n < 3; n += 1) {
      builds.push(await lab.builds.submitBuild(kernelBuild));
      await lab.clock.settle();
    }
    const waiting = await lab.reservations.listWaiting();
    expect(waiting.map(({ workId, position }) => [workId, position])).toEqual([
      [builds[1]?.id, 1],
      [builds[2]?.id, 2],
    ]);
    const [next = 0, last = 0] = waiting.map(({ estimatedWaitTime }) => estimatedWaitTime);
    expect(next).toBeGreaterThan(0);
    expect(last).toBeGreaterThan(next);
    const second = builds[1]?.id ?? '';
    await expect(lab.reservations.cancelWaiting(second)).rejects.toMatchObject({ code: 'conflict' });
    await lab.builds.cancelBuild(second);
    await lab.clock.settle();
    expect(await lab.reservations.listWaiting()).toMatchObject([{ workId: builds[2]?.id, position: 1 }]);
    await lab.clock.runUntil(lab.builds.waitForBuild(builds[2]?.id ?? ''));
    expect(await lab.reservations.listWaiting()).toEqual([]);
  });

  it('keeps its place in a crash', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer({ maxConcurrentBuilds: 1 });
    const builds = [];
    for (let n = 0; n < 2; n += 1) {
      builds.push(await lab.builds.submitBuild(kernelBuild));
      await lab.clock.settle();
    }
    await lab.crash();
    await using again = await lab.reopen();
    expect(await again.reservations.listWaiting()).toMatchObject([{ workId: builds[1]?.id }]);
    const done = await again.clock.runUntil(again.builds.waitForBuild(builds[1]?.id ?? ''));
    expect(done.status).toBe('completed');
  });
});

describe('the estimated wait', () => {
  it('R13.5, E-board-busy: is when the board is expected back, then each one ahead in turn', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.integer({ min: 1, max: 1_000 }).map((n) => n * 1_000),
          { minLength: 1, maxLength: 6 },
        ),
        async (expected) => {
          await using pool = await oneBoard();
          for (const [index, expectedMs] of expected.entries()) {
            await pool.store.transaction((tx) =>
              pool.selection.obtain(tx, { id: `q${index}`, request: board, holder: 'x', priority: 0, expectedMs }),
            );
          }
          const waits = (await pool.reservations.listWaiting()).map(({ estimatedWaitTime = -1 }) => estimatedWaitTime);
          const sums = expected.map((_, index) => expected.slice(0, index).reduce((sum, ms) => sum + ms / 1000, 0));
          assert.deepEqual(waits, sums.slice(1));
          const outcome = await pool.selection.explain(board);
          assert.equal(
            outcome.estimatedWaitMs,
            expected.reduce((sum, ms) => sum + ms, 0),
          );
        },
      ),
      { numRuns: 100 },
    ));

  it('is unknown when nothing that could fit is in service, and moves on when a holder stays too long', async () => {
    await using pool = await oneBoard();
    await pool.reservations.request(board, { holder: 'first', expectedMs: 1_000, leaseMs: limits.waitingMs });
    await pool.clock.advance(5_000);
    expect((await pool.selection.explain(board)).estimatedWaitMs).toBe(limits.expectedOverrunMs);
    await pool.pool('board').setMaintenance(pool.id, true);
    expect((await pool.selection.explain(board)).estimatedWaitMs).toBeUndefined();
  });
});
