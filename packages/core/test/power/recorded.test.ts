import { limits } from '@bringup/core';
import { memoryPowerConnector, memoryShell, seededRandom } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { Connectors } from '../../src/pool/connectors.ts';
import { cycleRecorded, givePowerBack } from '../../src/power/recorded.ts';
import { addItem } from '../../src/work/queue-queries.ts';
import { toRow } from '../../src/work/queue.ts';
import { handler, startEngine } from '../support/engine.ts';
import { powerWorld } from '../support/power-world.ts';

describe('work that puts a board back in order', () => {
  it('leaves it with power, though a command of the process before it comes late', async () => {
    await using world = await powerWorld();
    const { clock, store, board } = world;
    const power = memoryPowerConnector();
    power.attach('outlet', world.outlet);
    const services = { connectors: new Connectors({ shell: memoryShell({ clock }), power }), random: seededRandom(3) };
    await using t = await startEngine(
      [
        handler('boot', (context) =>
          givePowerBack(services, { context, board, by: 'ada', reason: 'it was cut short' }, context.signal),
        ),
      ],
      { clock, store },
    );
    // It reaches the outlet while the next process already puts things in order.
    clock.timer(5_000, () => void world.outlet.off());
    const cut = { ...toRow({ id: 'cut', kind: 'boot', input: {} }, clock.now()), takeovers: 1 };
    await store.transaction(({ db }) => addItem(db, cut));
    expect((await clock.runUntil(t.engine.finished('cut'))).state).toBe('succeeded');
    expect(world.switched.map(({ to }) => to)).toEqual(['off', 'on']);
  });

  it('cuts its power only once no command of the process before can come any more', async () => {
    await using world = await powerWorld();
    const { clock, store, board } = world;
    const power = memoryPowerConnector();
    power.attach('outlet', world.outlet);
    const services = { connectors: new Connectors({ shell: memoryShell({ clock }), power }), random: seededRandom(3) };
    const recorded = { board, by: 'ada', reason: 'booting what was flashed' };
    await using t = await startEngine(
      [handler('boot', (context) => cycleRecorded(services, { ...recorded, context }, { signal: context.signal }))],
      { clock, store },
    );
    clock.timer(limits.powerCallMs - 1, () => void world.outlet.off());
    const cut = { ...toRow({ id: 'cut', kind: 'boot', input: {} }, clock.now()), takeovers: 1 };
    await store.transaction(({ db }) => addItem(db, cut));
    expect((await clock.runUntil(t.engine.finished('cut'))).state).toBe('succeeded');
    await clock.advance(limits.powerCallMs);
    expect(world.switched.map(({ to }) => to)).toEqual(['off', 'on']);
  });
});
