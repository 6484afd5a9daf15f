import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { boardRequest, limits } from '@bringup/core';
import { type MemoryLab } from '@bringup/core/testing';
import { blockMapText } from '../support/block-map.ts';
import { boots, deployToBoard, kernelOf, labWithBoard } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';

const statusOf = async (lab: MemoryLab): Promise<string | undefined> => (await lab.boards.findBoard('board1'))?.status;

describe('a flash', () => {
  it('R6.2: of an image that has its block map beside it takes that to the station, for flashing and for looking', async () => {
    const { lab, boardId } = await labWithBoard();
    await using _lab = lab;
    const image = Buffer.alloc(8192);
    image.fill(1, 0, 4096);
    const sha256 = createHash('sha256').update(image.subarray(0, 4096)).digest('hex');
    const store = async (map: string): Promise<string[]> => {
      const files = [
        { type: 'rootfs', filename: 'core.wic', bytes: image },
        { type: 'other', filename: 'core.wic.bmap', bytes: Buffer.from(map) },
      ] as const;
      const stored = await lab.artifacts.storeArtifacts(
        files.map(({ bytes, ...file }) => ({ ...file, architecture: 'x86_64', bytes: Readable.from([bytes]) })),
      );
      return stored.map(({ id }) => id);
    };
    const { flash: station } = lab.board('board1');
    const [flashed, verified] = [vi.spyOn(station, 'flash'), vi.spyOn(station, 'verify')];

    const artifactIds = await store(blockMapText(4096, [[0, 0, sha256]], image.length));
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds });
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(id))).toMatchObject({
      status: 'completed',
      parts: [{ slot: 'rootfs', filename: 'core.wic', blockMapId: artifactIds[1] }],
    });
    const blockMap = { imageBytes: 8192, blockBytes: 4096, ranges: [{ offsetBytes: 0, sizeBytes: 4096, sha256 }] };
    expect(flashed.mock.lastCall?.[0]).toMatchObject({ slot: 'rootfs', blockMap });
    expect(await lab.flash.verifyFirmware(boardId)).toMatchObject({ verified: true });
    expect(verified.mock.lastCall?.[0]).toMatchObject({ slot: 'rootfs', blockMap });

    const wrong = await store(blockMapText(4096, [[0, 0, sha256]], 5000));
    const { id: refused } = await lab.boards.flashFirmware(boardId, { artifactIds: wrong });
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(refused))).toMatchObject({
      status: 'failed',
      attempts: 1,
      error: { code: 'invalid-input', message: expect.stringContaining('core.wic has 8192') },
    });
    // Not a byte of it was written.
    expect(await statusOf(lab)).toBe('available');
  });

  it(
    'P15: of any size, by itself or in a deployment, at any moment: the board is flashing and nobody gets it',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 20 }),
          fc.nat(100),
          fc.constantFrom('by itself', 'in a deployment'),
          async (bytesPerSecond, percent, how) => {
            const { lab, buildId, boardId } = await labWithBoard();
            await using _lab = lab;
            lab.board('board1').flash.bytesPerSecond = bytesPerSecond;
            const begun =
              how === 'by itself'
                ? await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] })
                : await lab.deployments.deployToBoard({ artifacts: { buildId } });
            for (let ms = 0; ms < 5_000 && (await statusOf(lab)) !== 'flashing'; ms += 10) await lab.clock.advance(10);
            const [{ id, totalBytes } = expect.fail()] = await lab.flash.getFlashHistory(boardId);
            await lab.clock.advance(((totalBytes / bytesPerSecond) * 1_000 * percent) / 102);
            expect(await lab.flash.getFlashProgress(id)).toMatchObject({ status: 'flashing' });
            expect(await statusOf(lab)).toBe('flashing');

            const wanted = boardRequest({ architecture: 'x86_64' });
            expect(await lab.selection.candidates(wanted)).toEqual([]);
            expect(await lab.selection.reserve(wanted, 'somebody')).toMatchObject({ success: false });
            expect(await lab.selection.boards.selectBoard({ architecture: 'x86_64', boardId })).toMatchObject({
              success: false,
            });
            const waiting = lab.reservations.request(wanted, { holder: 'somebody', priority: 100 });
            const other = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
            await lab.clock.advance(1);
            expect((await lab.reservations.listWaiting()).map(({ holder }) => holder)).toEqual(['somebody', other.id]);
            expect(await statusOf(lab)).toBe('flashing');

            expect(await lab.clock.runUntil(lab.flash.waitForFlash(id))).toMatchObject({ status: 'completed' });
            if (how === 'in a deployment') {
              await lab.clock.runUntil(lab.deployments.waitForDeployment(begun.id));
              await lab.clock.runUntil(lab.deployments.releaseDeployment(begun.id));
            }
            const { id: reservationId } = await lab.clock.runUntil(waiting);
            expect(await statusOf(lab)).toBe('in_use');
            await lab.reservations.release(reservationId);
            expect(await lab.clock.runUntil(lab.flash.waitForFlash(other.id))).toMatchObject({ status: 'completed' });
            expect(await statusOf(lab)).toBe('available');
          },
        ),
        { numRuns: 100 },
      ),
    180_000,
  );

  it('is refused for a board without a station, and for files of another architecture', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const bare = await lab.addBoard({ without: ['flash'] });
    const arm = await lab.addBoard({ machine: { architecture: 'arm64' } });
    const artifactIds = [await kernelOf(lab, buildId)];
    await expect(lab.boards.flashFirmware(bare.id, { artifactIds })).rejects.toMatchObject({ code: 'unsupported' });
    await expect(lab.boards.flashFirmware(arm.id, { artifactIds })).rejects.toMatchObject({
      code: 'architecture-mismatch',
    });
    await expect(lab.boards.flashFirmware(boardId, { artifactIds: [], slots: [{ slot: 'x' }] })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'artifactIds' }, { path: 'slots.0' }] },
    });
  });

  it('R16.4, E-flash: that can’t begin leaves the board as it was and tells a person, until one has succeeded', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const artifactIds = [await kernelOf(lab, buildId)];
    const { reservationId } = await lab.selection.boards.selectBoard({ architecture: 'x86_64' }, { holder: 'me' });
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds, timeoutMs: 5_000 });
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(id))).toMatchObject({ status: 'failed' });
    expect(await statusOf(lab)).toBe('in_use');
    const alerts = () => lab.alerts.list({ type: 'flash-failed' });
    expect(await alerts()).toMatchObject([
      { state: 'open', severity: 'warning', subject: boardId, details: { flashId: id } },
    ]);
    await lab.selection.boards.releaseBoard(reservationId ?? '');
    const again = await lab.boards.flashFirmware(boardId, { artifactIds });
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(again.id))).toMatchObject({ status: 'completed' });
    expect(await alerts()).toMatchObject([{ state: 'resolved', resolution: 'it was flashed' }]);
  });

  it('R6.5, R13.3: the firmware it gave a board is known of it through changes of its registration', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const { id } = await lab.boards.flashFirmware(boardId, {
      artifactIds: [await kernelOf(lab, buildId)],
      firmwareVersion: 'v7',
    });
    await lab.clock.runUntil(lab.flash.waitForFlash(id));
    const wanted = { architecture: 'x86_64', firmwareVersion: 'v7' } as const;
    for (const change of [{ labels: { rack: '1' } }, { sshPort: 2222, flashStationId: null }]) {
      const updating = lab.boards.updateBoard(boardId, change);
      expect(await lab.clock.runUntil(updating)).toMatchObject({
        currentFirmwareVersion: 'v7',
        firmware: { flashId: id },
      });
      expect(await lab.selection.boards.selectBoard(wanted)).toMatchObject({ success: true, requiresFlashing: false });
    }
  });

  it('R18.5: whose station has to restart the board is in its power history, with who did it, as is the boot', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    lab.flashStations.restarting.add('station-board1');
    const { id } = await deployToBoard(lab, buildId);
    expect(lab.board('board1').boots).toBe(3);
    const [flash] = await lab.flash.getFlashHistory(boardId);
    const [boot, restart, ...more] = await lab.power.getPowerHistory(boardId);
    expect(more).toEqual([]);
    expect(boot).toMatchObject({ by: `deployment ${id}`, cycles: 1, state: 'succeeded' });
    expect(restart).toMatchObject({
      id: flash?.id,
      action: 'cycle',
      by: `flash ${flash?.id}`,
      reason: 'restarting it to flash it',
      cycles: 1,
      state: 'succeeded',
    });
    expect((restart?.onAt ?? 0) - (restart?.offAt ?? 0)).toBeGreaterThanOrEqual(limits.powerOffMs);
  });

  it('has a board to itself when its station restarts it: a change that needs a proof of that waits until it is free', async () => {
    const { lab, buildId, boardId } = await labWithBoard(boots, { board: { without: ['console'] } });
    await using _lab = lab;
    lab.flashStations.restarting.add('station-board1');
    const { id } = await deployToBoard(lab, buildId);
    const { boots: before } = lab.board('board1');
    const change = (): Promise<unknown> =>
      lab.clock.runUntil(lab.boards.updateBoard(boardId, { flashStationId: 'station-board1' }));
    await expect(change()).rejects.toMatchObject({ code: 'conflict' });
    expect(lab.board('board1').boots).toBe(before);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(id));
    await change();
    expect(lab.board('board1').boots).toBe(before + 1);
  });

  it('E-power: whose board can’t be restarted fails, and a person is called', async () => {
    const { lab, buildId } = await labWithBoard();
    await using _lab = lab;
    lab.flashStations.restarting.add('station-board1');
    lab.board('board1').outlet.stuck = true;
    expect(await deployToBoard(lab, buildId)).toMatchObject({
      status: 'failed',
      error: { code: 'flash-failed', details: { cause: { code: 'power-failed' } } },
    });
    const board = await lab.boards.findBoard('board1');
    expect(board?.blockedBy).toContain('manual-intervention');
    await expectNothingHeld(lab);
  });

  it('that is cancelled before a byte was written leaves the board as it was', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const held = await lab.selection.reserve(boardRequest({ architecture: 'x86_64' }), 'somebody');
    expect(held.success).toBe(true);
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [await kernelOf(lab, buildId)] });
    await lab.clock.advance(1_000);
    await lab.flash.cancelFlash(id);
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(id))).toMatchObject({ status: 'cancelled' });
    expect(await statusOf(lab)).toBe('in_use');
  });
});
