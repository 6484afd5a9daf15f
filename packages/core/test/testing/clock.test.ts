import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import * as fc from 'fast-check';
import { sleep } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';

describe('the fake clock', () => {
  it('stands still until it is moved', async () => {
    const clock = fakeClock(1_000);
    let fired = false;
    clock.timer(1, () => (fired = true));
    await clock.settle();
    expect([clock.now(), fired]).toEqual([1_000, false]);
    await clock.advance(1);
    expect([clock.now(), fired]).toEqual([1_001, true]);
  });

  it('fires timers by due time, and those due together in the order they were started', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 30 }), async (delays) => {
        const clock = fakeClock(0);
        const fired: [number, number][] = [];
        delays.forEach((delayMs, index) => clock.timer(delayMs, () => fired.push([clock.now(), index])));
        await clock.advance(20);
        const expected = delays
          .map((delayMs, index) => [delayMs, index] as const)
          .sort(([a, first], [b, second]) => a - b || first - second);
        expect(fired).toEqual(expected);
      }),
      { numRuns: 100 },
    );
  });

  it('fires timers that are started on the way, each at its time', async () => {
    const clock = fakeClock(0);
    const times: number[] = [];
    const waiting = (async (): Promise<void> => {
      for (let round = 0; round < 3; round += 1) {
        await sleep(clock, 10);
        times.push(clock.now());
      }
    })();
    await clock.advance(29);
    expect(times).toEqual([10, 20]);
    await clock.advance(1);
    await waiting;
    expect(times).toEqual([10, 20, 30]);
  });

  it('does not fire a timer that was disposed', async () => {
    const clock = fakeClock();
    const timer = clock.timer(5, () => expect.fail('fired'));
    timer[Symbol.dispose]();
    timer[Symbol.dispose]();
    await clock.advance(10);
    expect(clock.pending).toEqual([]);
  });

  it('shows pending timers, the next one first', () => {
    const clock = fakeClock(100);
    clock.timer(50, () => {});
    clock.timer(20, () => {}, { background: true });
    expect(clock.pending).toEqual([
      { dueMs: 120, background: true },
      { dueMs: 150, background: false },
    ]);
  });

  it('runs until only background timers are left', async () => {
    const clock = fakeClock(0);
    const heartbeat = (): void => void clock.timer(10, heartbeat, { background: true });
    heartbeat();
    let done = false;
    clock.timer(35, () => (done = true));
    await clock.runUntilIdle();
    expect([done, clock.now(), clock.pending.length]).toEqual([true, 35, 1]);
  });

  it('gives up on timers that start one another for ever', async () => {
    const clock = fakeClock();
    const again = (): void => void clock.timer(1, again);
    again();
    await expect(clock.runUntilIdle({ maxTimers: 50 })).rejects.toThrow(TypeError);
  });

  it('runs until a promise settles and gives what it settled with', async () => {
    const clock = fakeClock(0);
    expect(await clock.runUntil(sleep(clock, 3_600_000).then(() => clock.now()))).toBe(3_600_000);
    await expect(clock.runUntil(sleep(clock, 5).then(() => Promise.reject(new Error('no'))))).rejects.toThrow('no');
  });

  it('a clock that is held stands still for what takes real time, and goes on with its end, good or bad', async () => {
    const clock = fakeClock(0);
    using _hourly = clock.timer(3_600_000, () => {}, { background: true });
    const served = async (): Promise<number> => {
      await readFile(import.meta.filename);
      return clock.now();
    };
    expect(await clock.runUntil(clock.hold(served()))).toBe(0);
    await expect(clock.runUntil(clock.hold(served().then(() => Promise.reject(new Error('no')))))).rejects.toThrow(
      'no',
    );
    expect(await clock.runUntil(sleep(clock, 5).then(() => clock.now()))).toBe(5);
  });

  it('refuses to be moved by two at a time', async () => {
    const clock = fakeClock();
    const first = clock.advance(10);
    await expect(clock.advance(10)).rejects.toThrow(TypeError);
    await first;
  });
});
