import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { powerWorld, type PowerWorld } from '../support/power-world.ts';
import { withLimits } from '../support/limits.ts';

const interventions = (world: PowerWorld) =>
  world.alerts.list({ type: 'manual-intervention', state: ['open', 'acknowledged'] });

const last = async (world: PowerWorld) => (await world.power.getPowerHistory(world.board.id))[0] ?? expect.fail();

function begin(world: PowerWorld): void {
  void world.power.powerCycle(world.board.id).catch(() => undefined);
}

async function untilOver(world: PowerWorld): Promise<void> {
  for (let looks = 0; looks < 100 && (await last(world)).state === 'pending'; looks += 1) {
    await world.clock.advance(3_000);
  }
}

/** The outlet does what it is told, and then never says so. */
function saysNothingOnceOff({ outlet }: PowerWorld): void {
  const off = outlet.off.bind(outlet);
  outlet.off = async (options) => {
    await off(options);
    await new Promise(() => undefined);
  };
}

describe('a power cycle that is cut short', () => {
  it('after the outlet was told to switch off, and did, though nobody heard it say so: the board gets its power back', async () => {
    await using world = await powerWorld();
    saysNothingOnceOff(world);
    begin(world);
    while (world.outlet.actual === 'on') await world.clock.advance(100);
    await world.engine.cancel((await last(world)).id);
    await untilOver(world);
    expect(world.outlet.actual).toBe('on');
    expect(await last(world)).toMatchObject({ state: 'cancelled' });
    expect(await world.view()).toMatchObject({ status: 'offline', blockedBy: [] });
  });

  it('since every process that goes on with it dies is given up, and the board gets its power back', () =>
    withLimits({ workMaxTakeovers: 3 }, async () => {
      await using world = await powerWorld({ sequence: { offMs: limits.powerStepMaxMs } });
      begin(world);
      for (let deaths = 0; deaths <= limits.workMaxTakeovers; deaths += 1) {
        await world.clock.advance(2 * limits.leaseMs);
        expect(world.outlet.actual).toBe('off');
        await world.restart();
      }
      await untilOver(world);
      expect(await last(world)).toMatchObject({ state: 'failed', error: { code: 'process-lost' } });
      expect(world.outlet.actual).toBe('on');
      expect((await world.view()).status).toBe('offline');
    }));

  it('while its outlet is out of reach needs a person, until its power was switched', async () => {
    await using world = await powerWorld();
    begin(world);
    while (world.outlet.actual === 'on') await world.clock.advance(100);
    world.outlet.unreachable = true;
    await world.engine.cancel((await last(world)).id);
    await untilOver(world);
    expect(await world.view()).toMatchObject({ status: 'offline', blockedBy: ['manual-intervention'] });
    const [alert] = await interventions(world);
    expect(alert).toMatchObject({ severity: 'critical', details: { cause: 'power-control' } });
    expect(alert?.message).toMatch(
      /^board1 may be without power: the power of board1 could not be switched on: .*reached/,
    );

    world.outlet.unreachable = false;
    await world.clock.runUntil(world.power.powerCycle(world.board.id));
    expect(await world.view()).toMatchObject({ status: 'available', blockedBy: [] });
    expect(await interventions(world)).toEqual([]);
  });

  it(
    'at any moment, by a dying controller or by whoever lost interest: the board has power, and is nobody’s in the end',
    { timeout: 120_000 },
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.nat(8_000),
          fc.boolean(),
          fc.option(fc.nat(8_000), { nil: undefined }),
          async (atMs, silent, diesAtMs) => {
            await using world = await powerWorld({ sequence: { beforeOffMs: 2_000, offMs: 3_000 } });
            if (silent) saysNothingOnceOff(world);
            begin(world);
            if (diesAtMs !== undefined) {
              await world.clock.advance(diesAtMs);
              await world.restart();
            }
            await world.clock.advance(atMs);
            await world.engine.cancel((await last(world)).id);
            await untilOver(world);
            expect((await last(world)).state).not.toBe('pending');
            expect(world.outlet.actual).toBe('on');
            expect(['available', 'offline']).toContain((await world.view()).status);
            expect(await interventions(world)).toEqual([]);
          },
        ),
        { numRuns: 100 },
      ),
  );
});
