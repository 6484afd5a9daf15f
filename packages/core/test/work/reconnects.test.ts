import { BringupError, limits, type ErrorCode } from '@bringup/core';
import { fakeClock } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { Reconnects } from '../../src/work/session.ts';

describe('tries after trouble', () => {
  it.each([
    ['connection-lost', limits.reconnectAttempts],
    ['console-busy', limits.heldAttempts],
    ['command-failed', 0],
  ] satisfies [ErrorCode, number][])('after %s are %i, further and further apart up to a bound', async (code, most) => {
    const clock = fakeClock();
    const reconnects = new Reconnects(clock, new AbortController().signal, ['console-busy']);
    const error = new BringupError(code, 'no');
    const pauses: number[] = [];
    const trying = (async () => {
      for (;;) {
        const since = clock.now();
        await reconnects.pauseAfter(error);
        pauses.push(clock.now() - since);
      }
    })();
    await expect(clock.runUntil(trying)).rejects.toBe(error);
    expect(pauses).toHaveLength(most);
    expect(pauses.toSorted((a, b) => a - b)).toEqual(pauses);
    expect(pauses.slice(0, 2)).toEqual([limits.reconnectBackoffMs, 2 * limits.reconnectBackoffMs].slice(0, most));
    expect(Math.max(0, ...pauses)).toBeLessThanOrEqual(limits.reconnectBackoffMs * 2 ** (limits.reconnectAttempts - 1));
  });
});
