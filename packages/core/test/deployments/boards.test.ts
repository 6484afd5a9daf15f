import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, type LabEvent } from '@bringup/core';
import { memoryGuests, sqliteError, type MemoryLab } from '@bringup/core/testing';
import { planFlash } from '../../src/deployments/flash-plan.ts';
import { boots, bootsSlowly, build, deployToBoard, labWithBoard } from '../support/boards.ts';
import { expectForeignFilesRefused } from '../support/foreign-files.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { headCommit, textOf } from '../support/requests.ts';

const statusOf = async (lab: MemoryLab): Promise<string | undefined> => (await lab.boards.findBoard('board1'))?.status;

describe('a deployment to a board', () => {
  it('R6.2, R6.3, R6.5: flashes it, cycles its power, hears it boot, and the board tells what it runs', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const done = await deployToBoard(lab, buildId);
    expect(done).toMatchObject({
      status: 'completed',
      targetType: 'physical_board',
      targetId: boardId,
      bootVerified: true,
      buildId,
      commitHash: headCommit,
      boot: { outcome: 'booted', excerpt: ['lab login: '] },
    });
    expect(lab.board('board1').flash.contents('kernel')?.toString()).toContain('kernel');
    expect(lab.board('board1').boots).toBe(2);
    const board = await lab.boards.getBoardStatus(boardId);
    expect(board).toMatchObject({
      status: 'in_use',
      currentFirmwareVersion: headCommit,
      firmware: { buildId, commitHash: headCommit, deploymentId: done.id },
    });
    expect(board.lastFlashTimestamp).toBeDefined();
    expect(await lab.flash.getFlashHistory(boardId)).toMatchObject([
      {
        status: 'completed',
        deploymentId: done.id,
        buildId,
        attempts: 1,
        receipts: [{ slot: 'kernel', verified: 'readback' }],
      },
    ]);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(done.id));
    expect(await statusOf(lab)).toBe('available');
    await expectNothingHeld(lab);
  });

  it('R6.3: logs what the board says from its first byte after the power came, and nothing from before', async () => {
    let boot = 0;
    const { lab, buildId } = await labWithBoard(async (guest) => {
      guest.say(`U-Boot ${(boot += 1)}\r\n`);
      await boots(guest);
    });
    await using _lab = lab;
    lab.board('board1').line.say('from before');
    const done = await deployToBoard(lab, buildId);
    expect(await textOf(lab.deployments.getBootLog(done.id))).toBe(
      'U-Boot 1\r\nLinux version 6.1.0\r\nwelcome\r\nlab login: ',
    );
  });

  it('E-boot, R6.4: whose board panics keeps the serial log, offers the last known-good, and goes back to it', async () => {
    let panics = false;
    const { lab, buildId } = await labWithBoard((guest) => (panics ? memoryGuests.panics(guest) : boots(guest)));
    await using _lab = lab;
    const good = await deployToBoard(lab, buildId);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(good.id));
    panics = true;
    const failed = await deployToBoard(lab, await build(lab));
    expect(failed).toMatchObject({
      status: 'failed',
      bootVerified: false,
      error: { code: 'boot-failed', details: { lastKnownGood: { deploymentId: good.id, buildId: buildId } } },
    });
    const [log] = await lab.artifacts.getArtifactsByProducer(failed.bootId ?? '');
    expect((await lab.artifacts.readAll(log ?? expect.fail())).toString()).toContain('Kernel panic');
    expect(await statusOf(lab)).toBe('in_use');
    panics = false;
    const { id } = await lab.deployments.rollbackDeployment(failed.id);
    const back = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    expect(back).toMatchObject({
      status: 'completed',
      bootVerified: true,
      buildId: buildId,
      environmentId: failed.environmentId,
    });
    expect(await lab.deployments.getDeploymentStatus(failed.id)).toMatchObject({
      status: 'rolled_back',
      rolledBackBy: back.id,
    });
    expect(await lab.boards.findBoard('board1')).toMatchObject({ firmware: { buildId: buildId } });
    await lab.clock.runUntil(lab.deployments.releaseDeployment(back.id));
    await expectNothingHeld(lab);
  });

  it('E-flash, R6.2: tries a flash that fails again, then tells a person and takes the board out; a flash brings it back', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const { flash } = lab.board('board1');
    using _broken = await lab.events.on('flash:phase', () => flash.cutNextAfter(3));
    lab.flashStations.unreachable.add('station-board1');
    const failed = await deployToBoard(lab, buildId, { boardId });
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'flash-failed' } });
    expect((await lab.flash.getFlashHistory(boardId))[0]).toMatchObject({
      status: 'failed',
      attempts: 1 + limits.flashRetries,
    });
    expect(await statusOf(lab)).toBe('offline');
    const raised: LabEvent[] = [];
    for await (const event of lab.events.read()) if (event.name === 'alert:raised') raised.push(event);
    expect(raised.map(({ data }) => data)).toContainEqual(
      expect.objectContaining({ type: 'flash-failed', subject: boardId, severity: 'critical' }),
    );
    lab.flashStations.unreachable.clear();
    const kernel = (await lab.artifacts.getArtifactsByBuild(buildId)).find(
      ({ artifactType }) => artifactType === 'kernel_image',
    );
    const { id } = await lab.boards.flashFirmware(boardId, { artifactIds: [kernel?.id ?? ''] });
    expect(await lab.clock.runUntil(lab.flash.waitForFlash(id))).toMatchObject({ status: 'completed', attempts: 2 });
    expect(await statusOf(lab)).toBe('available');
    expect(await lab.flash.verifyFirmware(boardId)).toMatchObject({ verified: true });
    await expectNothingHeld(lab);
  });

  it('E-flash: a byte that the medium damages is found and written again', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    lab.board('board1').flash.corruptNext();
    expect(await deployToBoard(lab, buildId)).toMatchObject({ status: 'completed', bootVerified: true });
    expect((await lab.flash.getFlashHistory(boardId))[0]).toMatchObject({ attempts: 2 });
  });

  it('R6.3: a board without a console has booted when its shell answers from a new boot', async () => {
    const { lab, buildId } = await labWithBoard(boots, { board: { without: ['console'] } });
    await using _lab = lab;
    const done = await deployToBoard(lab, buildId);
    expect(done).toMatchObject({
      status: 'completed',
      bootVerified: true,
      boot: { outcome: 'booted', matched: 'boot id' },
    });
    expect(done.verification?.bootId).toBe('00000000-0000-4000-8000-000000000002');
  });

  it('E-verify: one whose shell does not answer is cycled once more, then the deployment is unverified', async () => {
    const { lab, buildId } = await labWithBoard(memoryGuests.panics, { board: { without: ['console'] } });
    await using _lab = lab;
    const failed = await deployToBoard(lab, buildId);
    expect(failed).toMatchObject({ status: 'failed', bootVerified: false, error: { code: 'boot-timeout' } });
    expect(lab.board('board1').boots).toBe(2 + limits.shellBootRetries);
  });

  it('E-verify: what runs is looked at again, and a board that was restarted or does not answer is unverified', async () => {
    const { lab, buildId } = await labWithBoard();
    await using _lab = lab;
    const { id } = await deployToBoard(lab, buildId);
    await lab.clock.advance(10_000);
    const verify = () => lab.clock.runUntil(lab.deployments.verifyDeployment(id));
    expect(await verify()).toMatchObject({ verified: true, attempts: 1 });
    expect(await verify()).toMatchObject({ verified: true, checks: [{ outcome: 'passed' }, { outcome: 'passed' }] });
    lab.shell.host('board1').faults.hang = true;
    expect(await verify()).toMatchObject({ verified: false, attempts: 1 + limits.verifyRetries });
    expect(await lab.deployments.getDeploymentStatus(id)).toMatchObject({ status: 'completed', bootVerified: false });
    lab.shell.host('board1').faults.hang = false;
    lab.board('board1').powerGlitch();
    await lab.clock.advance(10_000);
    expect(await verify()).toMatchObject({ verified: false, reason: expect.stringContaining('restarted') });
  });

  it('whose power a person switches is restarted by its shell', async () => {
    const { lab, buildId } = await labWithBoard(boots, { board: { without: ['power'] } });
    await using _lab = lab;
    lab.shell.commands.set('reboot', ({ hostname }) => lab.board(hostname).powerGlitch());
    expect(await deployToBoard(lab, buildId)).toMatchObject({ status: 'completed', bootVerified: true });
  });

  it('E-power: whose power can’t be switched fails, and a person is called', async () => {
    const { lab, buildId } = await labWithBoard();
    await using _lab = lab;
    lab.board('board1').outlet.stuck = true;
    expect(await deployToBoard(lab, buildId)).toMatchObject({ status: 'failed', error: { code: 'power-failed' } });
    expect(await lab.boards.findBoard('board1')).toMatchObject({ blockedBy: ['manual-intervention'] });
    await expectNothingHeld(lab);
  });

  it('is booted anew when the connection to its console breaks: what it said meanwhile may have decided', async () => {
    let boots = 0;
    const { lab, buildId } = await labWithBoard(async (guest) => {
      boots += 1;
      guest.say('Linux version 6.1.0\r\n');
      await guest.sleep(5_000);
      if (boots <= 3) lab.board('board1').line.cut();
      guest.say('login: ');
      await guest.idle();
    });
    await using _lab = lab;
    expect(await deployToBoard(lab, buildId)).toMatchObject({ status: 'completed', bootVerified: true });
    expect(boots).toBe(4);
  });

  it('fails with what breaks the connection to its console when that does not end', async () => {
    const { lab, buildId } = await labWithBoard(async (guest) => {
      guest.say('Linux version 6.1.0\r\n');
      await guest.sleep(1_000);
      lab.board('board1').line.cut();
      await guest.idle();
    });
    await using _lab = lab;
    expect(await deployToBoard(lab, buildId)).toMatchObject({ status: 'failed', error: { code: 'connection-lost' } });
    expect(lab.board('board1').outlet.actual).toBe('on');
  });

  it('is gone on with by another process when the one that boots it can’t reach the database any more', async () => {
    let boots = 0;
    let away = false;
    const onStatement = (sql: string): void => {
      // It looks into what was logged before it listens.
      away ||= boots === 1 && sql.startsWith('select') && sql.includes('"log_chunks"');
      if (away && sql !== 'rollback') throw sqliteError(10, 'disk I/O error');
    };
    const { lab, buildId } = await labWithBoard(
      async (guest) => {
        boots += 1;
        await bootsSlowly(guest);
      },
      { process: { name: 'first', onStatement } },
    );
    await using _lab = lab;
    const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId } });
    for (let time = 0; time < 100 && !away; time += 1) await lab.clock.advance(100);
    expect(away).toBe(true);
    await using other = await lab.join({ name: 'second' });
    expect(await lab.clock.runUntil(other.deployments.waitForDeployment(id))).toMatchObject({ status: 'completed' });
    expect(boots).toBe(2);
    away = false;
  });

  it('cancelled between off and on leaves the board with power', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId }, boardId });
    const { outlet } = lab.board('board1');
    while (outlet.actual === 'on') await lab.clock.advance(100);
    await lab.deployments.cancelDeployment(id);
    await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    expect(outlet.actual).toBe('on');
    await expectNothingHeld(lab);
  });

  it('cancelled while it is flashed leaves the board out of service, half-written as it is', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    lab.board('board1').flash.bytesPerSecond = 1;
    const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId } });
    await lab.clock.advance(3_000);
    expect(await lab.deployments.getDeploymentStatus(id)).toMatchObject({ status: 'flashing' });
    await lab.deployments.cancelDeployment(id);
    expect(await lab.clock.runUntil(lab.deployments.waitForDeployment(id))).toMatchObject({ status: 'cancelled' });
    expect(await lab.boards.getBoardStatus(boardId)).toMatchObject({ status: 'offline' });
    await expectNothingHeld(lab);
  });

  it('R6.1: refuses a named board of another architecture', async () => {
    const { lab, buildId } = await labWithBoard();
    await using _lab = lab;
    const other = await lab.addBoard({ machine: { architecture: 'arm64' } });
    const failed = await deployToBoard(lab, buildId, { boardId: other.id });
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'no-match' } });
    expect(await deployToBoard(lab, buildId, { boardId: other.id, architecture: 'arm64' })).toMatchObject({
      error: { code: 'architecture-mismatch' },
    });
    expect(lab.board('board2').flash.contents('kernel')).toBeUndefined();
  });
});

it('P6: files of another architecture than the board’s are refused', () => {
  expectForeignFilesRefused('device_tree', (built, wanted) => planFlash(built, [], undefined, wanted));
});

it(
  'P24: a deployment that a board can’t be flashed with goes to another one, as long as there is one to try',
  () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 5 }), fc.nat(5), async (count, broken) => {
        const { lab, buildId } = await labWithBoard();
        await using _lab = lab;
        for (let more = 1; more < count; more += 1) await lab.addBoard();
        for (let bad = 1; bad <= Math.min(broken, count); bad += 1)
          lab.flashStations.unreachable.add(`station-board${bad}`);
        const done = await deployToBoard(lab, buildId);
        const tried = await Promise.all(
          (await lab.boards.getAllBoards()).map(({ id }) => lab.flash.getFlashHistory(id)),
        );
        const flashes = tried.flat().length;
        expect(flashes).toBeLessThanOrEqual(limits.deploymentTargetsTried);
        // With more bad boards than are tried, it depends on which come first.
        const certain = broken < count && broken < limits.deploymentTargetsTried;
        if (certain || (broken < count && done.status === 'completed')) {
          expect(done).toMatchObject({ status: 'completed', bootVerified: true });
          await lab.clock.runUntil(lab.deployments.releaseDeployment(done.id));
        } else {
          expect(done).toMatchObject({ status: 'failed', error: { code: 'flash-failed' } });
          expect(flashes).toBe(Math.min(count, limits.deploymentTargetsTried));
        }
        await expectNothingHeld(lab);
      }),
      { numRuns: 100 },
    ),
  120_000,
);

it(
  'P15: a deployment to a board whose controller dies after any event ends, and leaves nothing held',
  () =>
    fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), fc.boolean(), fc.nat(2), async (after, good, more) => {
        const { lab, buildId } = await labWithBoard(good ? boots : memoryGuests.panics);
        const begun = lab.clock.now();
        const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId }, keepMs: 60_000 });
        let current = lab;
        for (let crash = 0; crash <= more; crash += 1) {
          await crashAfter(current, after + crash * 7, id);
          current = await current.reopen();
        }
        await using last = current;
        const done = await last.clock.runUntil(last.deployments.waitForDeployment(id));
        expect(done.status).toBe(good ? 'completed' : 'failed');
        if (!good) expect(done.error).toMatchObject({ code: 'boot-failed' });
        const board = last.board('board1');
        expect(board.flash.intact).toBe(true);
        expect(last.clock.now() - begun).toBeLessThan(600_000);
        await last.clock.runUntil(last.deployments.releaseDeployment(id));
        await expectNothingHeld(last);
        expect(await statusOf(last)).toBe('available');
      }),
      { numRuns: 100 },
    ),
  240_000,
);

/** Lets the lab come to its n-th event since it was opened, or to the end of the deployment, and kills it. */
async function crashAfter(lab: MemoryLab, count: number, deploymentId: string): Promise<void> {
  let seen = 0;
  const stop = new AbortController();
  const reached = (async () => {
    for await (const event of lab.events.read({ follow: true, signal: stop.signal })) {
      seen += 1;
      if (event.seq > 0 && seen >= count) return;
    }
  })().catch(() => undefined);
  await lab.clock.runUntil(Promise.race([reached, lab.deployments.waitForDeployment(deploymentId)]));
  await lab.crash();
  stop.abort();
}
