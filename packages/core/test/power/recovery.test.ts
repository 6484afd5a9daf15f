import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, type PowerMethod } from '@bringup/core';
import { handler, startEngine } from '../support/engine.ts';
import { powerWorld, type PowerWorld } from '../support/power-world.ts';
import { reserve } from '../../src/pool/reservations.ts';
import { changeStatus } from '../../src/pool/status.ts';
import { insertPowerEvent } from '../../src/power/records.ts';
import { recoverHungBoard, startRecovery, type RecoveryStart } from '../../src/power/recovery.ts';
import { addItem } from '../../src/work/queue-queries.ts';
import { toRow } from '../../src/work/queue.ts';

const recover = (world: PowerWorld): Promise<RecoveryStart> =>
  world.store.transaction((tx) => startRecovery(tx, world.board.id, 'its shell does not answer', world.services));

const interventions = (world: PowerWorld) =>
  world.alerts.list({ type: 'manual-intervention', state: ['open', 'acknowledged'] });

/** Lets time pass until nothing is being done to the board's power. */
async function untilOver(world: PowerWorld): Promise<void> {
  for (let looks = 0; looks < 60; looks += 1) {
    await world.clock.advance(3_000);
    if ((await world.power.getPowerHistory(world.board.id)).every(({ state }) => state !== 'pending')) return;
  }
}

/** Reserves the board; false when it can't be had. */
async function hold(world: PowerWorld, holder: string): Promise<boolean> {
  const request = {
    kind: 'board',
    architecture: 'arm64',
    traits: [],
    use: { slots: 1, cpu: 0, memoryMb: 0, storageGb: 0 },
    minimum: { cpu: 0, memoryMb: 0, storageGb: 0 },
  } as const;
  const lease = { id: `lease-${holder}`, resourceId: world.board.id, holder, now: world.clock.now() };
  return (await world.store.transaction((tx) => reserve(tx, request, lease))) !== undefined;
}

describe('a board that can’t be reached', () => {
  it('R10.3, E-serial: has its power cycled; it is in recovery meanwhile and available when it answers', async () => {
    await using world = await powerWorld();
    world.hangs = true;
    expect(await recover(world)).toBe('started');
    expect(await world.view()).toMatchObject({
      status: 'recovery',
      statusReason: 'its shell does not answer; its power is being cycled',
    });
    expect(await recover(world)).toBe('under-way');
    await world.clock.advance(30_000);
    expect(world.switched.map(({ to }) => to)).toEqual(['off', 'on']);
    expect((await world.view()).status).toBe('available');
    expect(await world.power.getPowerHistory(world.board.id)).toMatchObject([
      {
        trigger: 'recovery',
        state: 'succeeded',
        result: 'answered',
        by: 'health monitor',
        reason: 'its shell does not answer',
      },
    ]);
  });

  it('E-serial: that does not come back is offline after a bounded number of cycles, and a person is told', async () => {
    await using world = await powerWorld({ bootsAfterMs: undefined, sequence: { recoveryMs: 20_000 } });
    world.hangs = true;
    await recover(world);
    await world.clock.advance(120_000);
    expect(world.switched.filter(({ to }) => to === 'off')).toHaveLength(limits.recoveryCycles);
    expect(await world.view()).toMatchObject({ status: 'offline', blockedBy: ['manual-intervention'] });
    const [alert] = await interventions(world);
    expect(alert?.message).toBe(
      'board1 did not answer within 20 s after 2 power cycles. ' +
        'Look at the board: its supply, its boot medium, its console. Nothing is allocated to it until then.',
    );
    expect(await recover(world)).toBe('given-up');
    expect(world.outlet.actual).toBe('on');
  });

  it('that answers later needs nobody any more', async () => {
    await using world = await powerWorld({ bootsAfterMs: undefined, sequence: { recoveryMs: 20_000 } });
    world.hangs = true;
    await recover(world);
    await world.clock.advance(120_000);
    await world.store.transaction((tx) =>
      changeStatus(tx, world.board.id, { status: 'online', reason: 'it answers', now: world.clock.now() }),
    );
    expect(await world.view()).toMatchObject({ status: 'available', blockedBy: [] });
    expect(await interventions(world)).toEqual([]);
  });

  it('E-power: whose power can’t be switched goes on needing somebody, even when it answers again', async () => {
    await using world = await powerWorld();
    world.hangs = true;
    world.outlet.stuck = true;
    await recover(world);
    await world.clock.advance(60_000);
    expect(await world.view()).toMatchObject({ status: 'offline', blockedBy: ['manual-intervention'] });
    await world.store.transaction((tx) =>
      changeStatus(tx, world.board.id, { status: 'online', now: world.clock.now() }),
    );
    expect((await world.view()).blockedBy).toEqual(['manual-intervention']);
    expect((await interventions(world))[0]?.details).toMatchObject({ cause: 'power-control' });
  });

  it.each([
    ['asked', 'whose power is switched by hand', { method: 'manual' as PowerMethod }],
    ['held', 'that somebody uses', {}],
    ['impossible', 'that is being flashed', {}],
    ['given-up', 'that was switched off', {}],
  ] as const)('is not power-cycled (%s) when it is one %s', async (expected, _what, options) => {
    await using world = await powerWorld(options);
    if (expected === 'held') await hold(world, 'run-1');
    if (expected === 'impossible') {
      await world.store.transaction((tx) =>
        changeStatus(tx, world.board.id, { status: 'flashing', now: world.clock.now() }),
      );
    }
    if (expected === 'given-up') await world.clock.runUntil(world.power.powerOff(world.board.id));
    const before = world.switched.length;
    expect(await recover(world)).toBe(expected);
    await world.clock.advance(60_000);
    expect(world.switched).toHaveLength(before);
  });

  const methods = ['usb_hub', 'network_pdu', 'gpio_relay'] as const;
  it(
    'P13: any that has power control gets an automatic power cycle, also when the controller dies meanwhile',
    { timeout: 120_000 },
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...methods),
          fc.option(fc.integer({ min: 0, max: 15_000 }), { nil: undefined }),
          fc.constantFrom('hangs', 'off'),
          fc.option(fc.integer({ min: 0, max: 12_000 }), { nil: undefined }),
          async (method, bootsAfterMs, trouble, diesAfterMs) => {
            await using world = await powerWorld({
              method,
              bootsAfterMs,
              sequence: { offMs: 1_000, recoveryMs: 10_000 },
            });
            if (trouble === 'hangs') world.hangs = true;
            else await world.outlet.off();
            expect(await recover(world)).toBe('started');
            if (diesAfterMs !== undefined) {
              await world.clock.advance(diesAfterMs);
              await world.restart();
            }
            await untilOver(world);
            const [event] = await world.power.getPowerHistory(world.board.id);
            expect(event?.cycles).toBeGreaterThanOrEqual(1);
            expect(world.switched.at(-1)?.to).toBe('on');
            const { status } = await world.view();
            if (bootsAfterMs !== undefined && bootsAfterMs < 8_000) expect(status).toBe('available');
            if (bootsAfterMs === undefined)
              expect([status, (await interventions(world)).length]).toEqual(['offline', 1]);
          },
        ),
        { numRuns: 100 },
      ),
  );
});

describe('a power cycle', () => {
  const shortWaits = fc.record(
    {
      beforeOffMs: fc.integer({ min: 0, max: 3_000 }),
      offMs: fc.integer({ min: 0, max: 6_000 }),
      afterOnMs: fc.integer({ min: 0, max: 3_000 }),
      recoveryMs: fc.integer({ min: 1_000, max: 15_000 }),
    },
    { requiredKeys: [] },
  );
  const faults = fc.array(
    fc.record({
      afterMs: fc.integer({ min: 0, max: 6_000 }),
      what: fc.constantFrom('stuck', 'unreachable', 'well', 'dies'),
    }),
    { maxLength: 4 },
  );

  it(
    'P16: is off, the delay, on, and then the board is watched, with any configuration and any fault',
    { timeout: 180_000 },
    () =>
      fc.assert(
        fc.asyncProperty(
          shortWaits,
          fc.option(fc.integer({ min: 0, max: 12_000 }), { nil: undefined }),
          faults,
          async (sequence, bootsAfterMs, script) => {
            await using world = await powerWorld({ sequence: { recoveryMs: 10_000, ...sequence }, bootsAfterMs });
            const begun = world.clock.now();
            void world.power.powerCycle(world.board.id).catch(() => undefined);
            for (const { afterMs, what } of script) {
              await world.clock.advance(afterMs);
              if (what === 'dies') await world.restart();
              else {
                world.outlet.stuck = what === 'stuck';
                world.outlet.unreachable = what === 'unreachable';
              }
            }
            world.outlet.stuck = false;
            world.outlet.unreachable = false;
            await untilOver(world);
            const [event] = await world.power.getPowerHistory(world.board.id);
            if (event === undefined) return expect.fail();
            const { offMs = limits.powerOffMs, afterOnMs = 0, beforeOffMs = 0, recoveryMs = 10_000 } = sequence;
            const [off, on, ...more] = world.switched;
            expect(event.state).not.toBe('pending');
            if (off !== undefined) {
              expect(off.to).toBe('off');
              expect(off.at - begun).toBeGreaterThanOrEqual(beforeOffMs);
            }
            if (on !== undefined && off !== undefined && event.state === 'succeeded') {
              expect(on.to).toBe('on');
              expect(on.at - off.at).toBeGreaterThanOrEqual(offMs);
            }
            expect(more).toEqual([]);
            // Only an outlet that refuses to give power back leaves the board without.
            if (world.outlet.actual === 'off') {
              expect(event.error).toMatchObject({ code: 'power-failed', details: { wanted: 'on' } });
            }
            if (event.state === 'succeeded') {
              expect(event.answeredAt).toBeGreaterThanOrEqual((on?.at ?? Number.NaN) + afterOnMs);
              expect(await world.view()).toMatchObject({ status: 'available', blockedBy: [] });
            } else {
              expect((await interventions(world)).map(({ subject }) => subject)).toEqual([world.board.id]);
              if (event.error?.code === 'boot-timeout') {
                expect((event.finishedAt ?? 0) - (event.onAt ?? 0)).toBeGreaterThanOrEqual(afterOnMs + recoveryMs);
              }
            }
          },
        ),
        { numRuns: 100 },
      ),
  );
});

describe('a power cycle of a board that somebody uses', () => {
  it('P15: never happens while the board is flashed, not even by force, nor when the flash began after the request', async () => {
    await using world = await powerWorld({ sequence: { beforeOffMs: 5_000 } });
    const late = world.power.powerCycle(world.board.id, { force: true });
    await world.clock.advance(2_000);
    const flashing = (): Promise<unknown> =>
      world.store.transaction((tx) => changeStatus(tx, world.board.id, { status: 'flashing', now: world.clock.now() }));
    await flashing();
    await expect(world.clock.runUntil(late)).rejects.toHaveProperty('code', 'conflict');
    await expect(world.power.powerCycle(world.board.id, { force: true })).rejects.toMatchObject({
      code: 'conflict',
      retryable: true,
      message: 'board1 is being flashed: cutting its power now could ruin it',
    });
    expect(world.switched).toEqual([]);
    expect((await world.view()).status).toBe('flashing');
    expect(await hold(world, 'run-1')).toBe(false);
  });

  it('is done for its holder or by force only, also when it was reserved after the request', async () => {
    await using world = await powerWorld({ sequence: { beforeOffMs: 15_000 } });
    const late = world.power.powerCycle(world.board.id);
    await world.clock.advance(11_000);
    expect(await hold(world, 'run-1')).toBe(true);
    await expect(world.clock.runUntil(late)).rejects.toMatchObject({
      code: 'conflict',
      details: { holders: ['run-1'] },
    });
    await expect(world.power.powerCycle(world.board.id)).rejects.toHaveProperty('code', 'conflict');
    expect(world.switched).toEqual([]);
    await world.clock.runUntil(world.power.powerCycle(world.board.id, { holder: 'run-1' }));
    await world.clock.runUntil(world.power.powerCycle(world.board.id, { force: true }));
    expect(world.switched).toHaveLength(4);
    expect((await world.view()).status).toBe('in_use');
  });

  it('is one at a time, in the order they were asked for', async () => {
    await using world = await powerWorld();
    const first = world.power.powerOff(world.board.id);
    const second = world.power.powerOn(world.board.id);
    await world.clock.runUntil(Promise.all([first, second]));
    expect(world.switched.map(({ to }) => to)).toEqual(['off', 'on']);
    expect((await world.view()).status).toBe('available');
  });
});

describe('a board that hangs during a test', () => {
  it.each(['power-cycle', 'leave'] as const)(
    'R18.3: is dealt with by the policy %s, in the name of the test run',
    async (policy) => {
      await using world = await powerWorld();
      await hold(world, 'run-1');
      world.hangs = true;
      let output: unknown = 'none';
      await using test = await startEngine(
        [
          handler('testrun', async (context) => {
            output = await recoverHungBoard(context, {
              boardId: world.board.id,
              reason: 'it said nothing for 60 s',
              policy,
              holder: 'run-1',
              key: 'hang-1',
            });
            return null;
          }),
        ],
        { store: world.store, clock: world.clock },
      );
      const id = await test.engine.submit('testrun', {});
      await world.clock.runUntil(test.engine.finished(id));
      expect(output).toEqual(policy === 'leave' ? undefined : { result: 'answered' });
      expect(world.hangs).toBe(policy === 'leave');
      const history = await world.power.getPowerHistory(world.board.id);
      expect(history.map(({ trigger, by, reason }) => ({ trigger, by, reason }))).toEqual(
        policy === 'leave' ? [] : [{ trigger: 'hang', by: 'run-1', reason: 'it said nothing for 60 s' }],
      );
    },
  );
});

describe('the history of a board’s power', () => {
  it('R18.5: keeps the newest entries and forgets the oldest', async () => {
    await using world = await powerWorld();
    const ids = Array.from({ length: limits.powerHistory + 5 }, (_, index) => `e${String(index).padStart(6, '0')}`);
    await world.store.transaction(async (tx) => {
      for (const id of ids) {
        const asked = toRow({ id, kind: 'power', input: {} }, 0);
        const output = '{"result":"switched"}';
        await addItem(tx.db, { ...asked, state: 'succeeded', output, started_at: 0, finished_at: 0 });
        await insertPowerEvent(tx, id, {
          boardId: world.board.id,
          action: 'on',
          trigger: 'request',
          by: 'ada',
          reason: 'x',
        });
      }
    });
    const kept = await world.store.db.selectFrom('power_events').select('id').orderBy('id').execute();
    expect(kept).toHaveLength(limits.powerHistory);
    expect(kept[0]?.id).toBe(ids[5]);
  });
});
