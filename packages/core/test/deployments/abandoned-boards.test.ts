import { describe, expect, it } from 'vitest';
import { limits } from '@bringup/core';
import { releaseAbandonedBoards } from '../../src/deployments/abandoned-boards.ts';
import { changeStatus } from '../../src/pool/status.ts';
import { kernelOf, labWithBoard } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { powerWorld } from '../support/power-world.ts';

const sweep = limits.orphanSweepMs + 2 * limits.heartbeatMs;

describe('a board that nobody goes on with', () => {
  it('since even cleaning up after its flash killed every process is out of service and told of', async () => {
    const { lab, boardId, buildId } = await labWithBoard();
    lab.flashStations.restarting.add('station-board1');
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
    const { outlet } = lab.board('board1');
    while (outlet.actual === 'on') await lab.clock.advance(100);
    // Whoever gives it its power back waits for the outlet, and dies meanwhile.
    outlet.on = () => new Promise(() => undefined);
    let current = lab;
    for (let deaths = 0; (await current.flash.getFlashProgress(id)).status !== 'failed'; deaths += 1) {
      expect(deaths).toBeLessThanOrEqual(2 * limits.workMaxTakeovers + 1);
      await current.crash();
      current = await current.reopen();
      await current.clock.advance(limits.leaseMs + 2 * limits.workPollMs);
    }
    await using last = current;
    expect((await last.boards.getBoardStatus(boardId)).status).toBe('flashing');
    await last.clock.advance(sweep);
    expect(await last.boards.getBoardStatus(boardId)).toMatchObject({ status: 'offline', blockedBy: ['half-flashed'] });
    expect(await last.alerts.list({ type: 'flash-failed', state: 'open' })).toMatchObject([
      { severity: 'critical', subject: boardId, message: expect.stringContaining('flash it again') },
    ]);
    await expectNothingHeld(last);
  });

  it('since a change of its power was left is offline, for health to find out about it', async () => {
    await using world = await powerWorld();
    const { store, services, board } = world;
    await store.transaction((tx) => changeStatus(tx, board.id, { status: 'recovery', now: world.clock.now() }));
    await releaseAbandonedBoards(store, services);
    expect(await world.view()).toMatchObject({ status: 'offline', blockedBy: [] });
  });

  it('is not one whose power is being cycled, nor one that is being flashed', async () => {
    await using world = await powerWorld();
    void world.power.powerCycle(world.board.id).catch(() => undefined);
    await world.clock.advance(2_000);
    await releaseAbandonedBoards(world.store, world.services);
    expect((await world.view()).status).toBe('recovery');

    const { lab, boardId, buildId } = await labWithBoard();
    await using _lab = lab;
    lab.board('board1').flash.bytesPerSecond = 6 / (sweep / 1_000);
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
    await lab.clock.advance(sweep);
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({ status: 'flashing', blockedBy: [] });
    await lab.flash.cancelFlash(id);
    await lab.clock.runUntil(lab.flash.waitForFlash(id));
  });
});
