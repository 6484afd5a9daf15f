import { describe, expect, it } from 'vitest';
import { BringupError, limits } from '@bringup/core';
import { handler, startEngine } from '../support/engine.ts';

describe('a clean-up', () => {
  it.each([
    ['that could not be stored is done again once the lease has run out', 'store-failed', 2],
    ['that failed otherwise is done once: what it left is found by those who look for it', 'power-failed', 1],
  ] as const)('%s', async (_title, code, times) => {
    const cleanUps: number[] = [];
    await using t = await startEngine([
      handler(
        'power',
        async () => {
          throw new BringupError('boot-timeout', 'it did not answer');
        },
        {
          cleanUp: async (context) => {
            cleanUps.push(context.takeovers);
            if (cleanUps.length === 1) throw new BringupError(code, 'the disk is full');
          },
        },
      ),
    ]);
    const id = await t.engine.submit('power', {});
    await t.clock.advance(limits.leaseMs + limits.workPollMs);
    expect(cleanUps).toHaveLength(times);
    expect(await t.engine.get(id)).toMatchObject({ state: 'failed', error: { code: 'boot-timeout' } });
  });
});
