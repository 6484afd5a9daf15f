import { BringupError, limits, type Clock } from '@bringup/core';
import { fakeClock, memoryPower, memoryPowerConnector } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { switchOutlet, type SwitchOptions } from '../../src/pool/power-sequence.ts';

/** An outlet that is on, what was done in order, and a clock that the process may find to have gone on. */
function world(more: Partial<SwitchOptions> = {}) {
  const time = fakeClock();
  let stoodStillMs = 0;
  const clock: Clock = { now: () => time.now() + stoodStillMs, timer: (...timer) => time.timer(...timer) };
  const done: string[] = [];
  const outlet = memoryPower({ clock, initially: 'on', onSwitched: (to) => void done.push(to) });
  const power = memoryPowerConnector();
  power.attach('1', outlet);
  const options: SwitchOptions = {
    board: 'board1',
    clock,
    signal: new AbortController().signal,
    open: () => power.open({ method: 'network_pdu', pduOutlet: '1' }),
    guard: async () => void done.push('asked'),
    ...more,
  };
  return {
    done,
    outlet,
    /** As by SIGSTOP: no timer fires, and yet it is later. */
    standStill: (ms: number) => void (stoodStillMs += ms),
    switchOff: () => time.runUntil(switchOutlet('off', options)),
  };
}

describe('a command to an outlet', () => {
  it('of a process that stood still before it went out is not sent: whether it may be is asked again', async () => {
    const { done, outlet, standStill, switchOff } = world();
    const off = outlet.off.bind(outlet);
    let stops = 0;
    outlet.off = (options) => {
      if ((stops += 1) === 1) standStill(limits.leaseMs + 3_000);
      return off(options);
    };
    await switchOff();
    expect(done).toEqual(['asked', 'asked', 'off']);
  });

  it('of a process that lost the board meanwhile is never sent', async () => {
    const lost = new BringupError('lease-lost', 'boot 1 was taken over by another process');
    let asked = 0;
    const { done, outlet, standStill, switchOff } = world({
      guard: async () => {
        if ((asked += 1) > 1) throw lost;
      },
    });
    const off = outlet.off.bind(outlet);
    outlet.off = (options) => {
      standStill(limits.powerCallMs);
      return off(options);
    };
    await expect(switchOff()).rejects.toBe(lost);
    expect(done).toEqual([]);
    expect(outlet.actual).toBe('on');
  });

  it('goes out within its time of the asking, however long the outlet takes to be reached', async () => {
    const { outlet, standStill, switchOff, done } = world({
      open: async () => {
        standStill(limits.powerCallMs - 1_000);
        return outlet;
      },
    });
    const granted: (number | undefined)[] = [];
    const off = outlet.off.bind(outlet);
    outlet.off = (options) => {
      granted.push(options?.timeoutMs);
      return off(options);
    };
    await switchOff();
    expect(granted).toEqual([1_000]);
    expect(done).toEqual(['asked', 'off']);
  });

  it('follows an answer that came in time, not a late one', async () => {
    let asked = 0;
    const { done, standStill, switchOff } = world({
      guard: async () => {
        done.push('asked');
        if ((asked += 1) === 1) standStill(limits.powerCallMs / 2);
      },
    });
    await switchOff();
    expect(done).toEqual(['asked', 'asked', 'off']);
  });

  it('is sent though the clock is set back meanwhile', async () => {
    const { done, standStill, switchOff } = world({
      guard: async () => {
        done.push('asked');
        standStill(-3_600_000);
      },
    });
    await switchOff();
    expect(done).toEqual(['asked', 'off']);
  });
});
