import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { limits } from '@bringup/core';
import type { MemoryLab } from '@bringup/core/testing';
import { boots, kernelOf, labWithBoard } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { withLimits } from '../support/limits.ts';

const alerts = (lab: MemoryLab) => lab.alerts.list({ type: 'flash-failed', state: ['open', 'acknowledged'] });

/** A lab whose board is being flashed, a byte a second. */
async function midway(firmwareVersion = 'v8') {
  const world = await labWithBoard();
  const { lab, boardId, buildId } = world;
  lab.board('board1').flash.bytesPerSecond = 1;
  const artifactIds = [await kernelOf(lab, buildId)];
  const { id } = await lab.boards.flashFirmware(boardId, { artifactIds, firmwareVersion });
  return { ...world, artifactIds, id };
}

describe('a flash that is cut short', () => {
  it('leaves the board nobody’s to take and tells a person, whatever it answers, until it is flashed again', async () => {
    const { lab, boardId, artifactIds, id } = await midway();
    await using _lab = lab;
    await lab.clock.advance(2_000);
    await lab.flash.cancelFlash(id);
    await lab.clock.runUntil(lab.flash.waitForFlash(id));
    const cut = { blockedBy: ['half-flashed'], currentUtilization: 0 };
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({ ...cut, status: 'offline' });
    expect(await alerts(lab)).toMatchObject([
      { severity: 'warning', subject: boardId, message: expect.stringContaining('flash it again') },
    ]);
    // What it ran before is still in its memory.
    const host = lab.shell.host('board1');
    const { isDown } = host;
    host.isDown = () => false;
    await lab.start({ roles: ['health'] });
    await lab.clock.advance(120_000);
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({ ...cut, status: 'available' });
    expect(await lab.selection.boards.selectBoard({ architecture: 'x86_64' })).toMatchObject({ success: false });

    host.isDown = isDown;
    lab.board('board1').flash.bytesPerSecond = undefined;
    const again = await lab.boards.flashFirmware(boardId, { artifactIds, firmwareVersion: 'v9' });
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(again.id))).toMatchObject({ status: 'completed' });
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({
      status: 'available',
      blockedBy: [],
      currentFirmwareVersion: 'v9',
    });
    expect(await alerts(lab)).toEqual([]);
  });

  it('is not answered with power cycles, which would not make half an image boot', async () => {
    const { lab, boardId, id } = await midway();
    await using _lab = lab;
    await lab.clock.advance(2_000);
    await lab.flash.cancelFlash(id);
    await lab.clock.runUntil(lab.flash.waitForFlash(id));
    lab.shell.host('board1').faults.hang = true;
    await lab.start({ roles: ['health'] });
    await lab.clock.advance(300_000);
    expect(await lab.power.getPowerHistory(boardId)).toEqual([]);
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({ status: 'offline', blockedBy: ['half-flashed'] });
  });

  it('is no longer taken for what the board ran before', async () => {
    const { lab, boardId, buildId } = await labWithBoard();
    await using _lab = lab;
    const artifactIds = [await kernelOf(lab, buildId)];
    const flash = (firmwareVersion: string) => lab.boards.flashFirmware(boardId, { artifactIds, firmwareVersion });
    const first = await flash('v7');
    await lab.clock.runUntil(lab.flash.waitForFlash(first.id));
    lab.board('board1').flash.bytesPerSecond = 1;
    const { id } = await flash('v8');
    await lab.clock.advance(2_000);
    await lab.flash.cancelFlash(id);
    await lab.clock.runUntil(lab.flash.waitForFlash(id));
    expect(await lab.boards.getBoardStatus(boardId)).not.toHaveProperty('currentFirmwareVersion');
    await expect(lab.flash.verifyFirmware(boardId)).rejects.toMatchObject({
      code: 'conflict',
      message: 'board board1 was not flashed by this lab, or not to the end',
    });
  });

  it('is taken up by one that was waiting for the board', async () => {
    const { lab, boardId, artifactIds, id } = await midway();
    await using _lab = lab;
    await lab.clock.advance(2_000);
    const next = await lab.boards.flashFirmware(boardId, { artifactIds });
    await lab.clock.advance(2_000);
    expect(await lab.reservations.listWaiting()).toHaveLength(1);
    await lab.flash.cancelFlash(id);
    while ((await lab.flash.getFlashProgress(next.id)).status !== 'flashing') await lab.clock.advance(1_000);
    expect(await lab.reservations.listWaiting()).toEqual([]);
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(next.id))).toMatchObject({ status: 'completed' });
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({ status: 'available', blockedBy: [] });
    await expectNothingHeld(lab);
  });

  it('since every process that goes on with it dies is given up, and a person is told', () =>
    withLimits({ workMaxTakeovers: 3 }, async () => {
      const { lab, boardId, id } = await midway();
      let current = lab;
      for (let deaths = 0; deaths <= limits.workMaxTakeovers; deaths += 1) {
        await current.clock.advance(2 * limits.leaseMs);
        await current.crash();
        current = await current.reopen();
        current.board('board1').flash.bytesPerSecond = 0.001;
      }
      await using last = current;
      expect(await last.clock.runUntil(last.flash.waitForFlash(id))).toMatchObject({ status: 'failed' });
      expect(await last.boards.getBoardStatus(boardId)).toMatchObject({
        status: 'offline',
        blockedBy: ['half-flashed'],
      });
      expect(await alerts(last)).toMatchObject([{ severity: 'critical', subject: boardId }]);
      await expectNothingHeld(last);
    }));

  it.each(['is cancelled', 'loses its controllers'])(
    'between off and on, for its station restarts the board: it gets its power back when it %s',
    (how) =>
      withLimits({ workMaxTakeovers: 3 }, async () => {
        const { lab, boardId, buildId } = await labWithBoard(boots, {
          board: { powerSequence: { offMs: limits.powerStepMaxMs } },
        });
        lab.flashStations.restarting.add('station-board1');
        const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
        let current = lab;
        const { outlet } = lab.board('board1');
        while (outlet.actual === 'on') await current.clock.advance(100);
        if (how === 'is cancelled') await current.flash.cancelFlash(id);
        for (let deaths = 0; how !== 'is cancelled' && deaths <= limits.workMaxTakeovers; deaths += 1) {
          await current.clock.advance(2 * limits.leaseMs);
          await current.crash();
          current = await current.reopen();
        }
        await using last = current;
        await last.clock.runUntil(last.flash.waitForFlash(id));
        expect(outlet.actual).toBe('on');
        await expectNothingHeld(last);
      }),
  );

  it('between off and on, with its outlet out of reach: a person is told', async () => {
    const { lab, boardId, buildId } = await labWithBoard();
    await using _lab = lab;
    lab.flashStations.restarting.add('station-board1');
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
    const { outlet } = lab.board('board1');
    while (outlet.actual === 'on') await lab.clock.advance(100);
    outlet.unreachable = true;
    await lab.flash.cancelFlash(id);
    await lab.clock.runUntil(lab.flash.waitForFlash(id));
    expect((await lab.boards.getBoardStatus(boardId)).blockedBy).toContain('manual-intervention');
    const [alert] = await lab.alerts.list({ type: 'manual-intervention', state: 'open' });
    expect(alert?.message).toMatch(/^board1 may be without power: .*Look after the outlet/);
  });

  it(
    'at any moment, by a dying controller and by whoever lost interest: the board is whole, or out of service with an alert',
    { timeout: 180_000 },
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.nat(30_000),
          fc.option(fc.nat(30_000), { nil: undefined }),
          fc.boolean(),
          async (cutAfterMs, diesAfterMs, restarting) => {
            const { lab, boardId, buildId } = await labWithBoard();
            if (restarting) lab.flashStations.restarting.add('station-board1');
            lab.board('board1').flash.bytesPerSecond = 1;
            const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
            let current = lab;
            if (diesAfterMs !== undefined) {
              await lab.clock.advance(diesAfterMs);
              await lab.crash();
              current = await lab.reopen();
            }
            await using last = current;
            await last.clock.advance(cutAfterMs);
            await last.flash.cancelFlash(id);
            await last.clock.runUntil(last.flash.waitForFlash(id));
            const { status, blockedBy } = await last.boards.getBoardStatus(boardId);
            const { flash, outlet } = last.board('board1');
            if (status === 'available') expect([blockedBy, flash.intact]).toEqual([[], true]);
            else {
              expect([status, blockedBy]).toEqual(['offline', ['half-flashed']]);
              expect((await alerts(last)).map(({ subject }) => subject)).toEqual([boardId]);
            }
            expect(outlet.actual).toBe('on');
            await expectNothingHeld(last);
          },
        ),
        { numRuns: 100 },
      ),
  );
});

describe('a boot that is cut short', () => {
  it('gives the board its power back even when its log can’t be kept', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const { outlet } = lab.board('board1');
    vi.spyOn(outlet, 'on').mockImplementationOnce(() => new Promise(() => undefined));
    const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId } });
    while ((await lab.power.getPowerHistory(boardId))[0]?.offAt === undefined) await lab.clock.advance(1_000);
    await lab.clock.advance(limits.powerOffMs);
    const store = vi.spyOn(lab.storage, 'put').mockRejectedValue(new Error('the storage is broken'));
    await lab.deployments.cancelDeployment(id);
    await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    expect(store).toHaveBeenCalled();
    expect(outlet.actual).toBe('on');
  });
});
