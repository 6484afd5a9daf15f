import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Board, BuildJob, Deployment, Lab } from '@bringup/core';
import type { BoardOrders } from '../fixtures/board-controller.ts';
import {
  boardBsp,
  boardBuild,
  boardPipeline,
  heardIn,
  openBoardLab,
  registerRack,
  startBoardRack,
  type BoardLabOptions,
  type BoardRack,
} from '../fixtures/board-lab.ts';
import { outputOf, runPipeline, stagesOf, textOf } from '../fixtures/looking.ts';

// The BSP's programs are cross-compiled on the build server, and its initrd is made there; its kernel is the
// distribution's for arm64, since building one takes longer than everything else here.

async function build(lab: Lab, folder: string, edit?: (tree: string) => Promise<void>): Promise<BuildJob> {
  const { id } = await lab.builds.submitBuild(await boardBuild(await boardBsp(folder, edit)));
  const done = await lab.builds.waitForBuild(id);
  expect(done.errorMessage).toBeUndefined();
  return done;
}

/** What the board said the last time it had power, as QEMU logged it. */
async function lastLife({ board }: BoardRack): Promise<string> {
  return (await board.lives()).at(-1)?.toString() ?? '';
}

/** Waits until it has said that since. */
async function untilSaid(rack: BoardRack, text: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const look = (): void => {
    lastLife(rack).then((life) => life.includes(text) && resolve(), reject);
  };
  const watcher = watch(rack.board.folder, look);
  look();
  try {
    await promise;
  } finally {
    watcher.close();
  }
}

/** Takes everything down. What is left of it is nothing. */
async function takeDown(lab: Lab | undefined, rack: BoardRack | undefined): Promise<void> {
  await lab?.[Symbol.asyncDispose]();
  await rack?.[Symbol.asyncDispose]();
  expect(await rack?.board.leftovers()).toEqual([]);
}

describe('A board with U-Boot that boots over TFTP, its serial line behind ser2net, on an outlet of snmpd,', () => {
  let rack: BoardRack;
  let lab: Lab;
  let board: Board;
  let good: Deployment;
  beforeAll(async () => {
    rack = await startBoardRack({ name: 'board1', boots: 'network' });
    lab = await openBoardLab(rack.settings);
    board = await registerRack(lab, rack, { flash: 'netboot' });
  });
  afterAll(() => takeDown(lab, rack));

  test('R17.2, R6.2, R6.3, R6.5: is built for, flashed, booted and tested, and no byte of its console is lost', async () => {
    const source = await boardBsp(rack.settings.folder);
    const pipeline = await runPipeline(lab, await boardPipeline(source));
    expect(stagesOf(pipeline), pipeline.errorMessage).toBe('completed completed completed completed');

    const heard = await heardIn(lab, pipeline);
    expect(heard).toMatch(/^\s*U-Boot 20\d\d/);
    expect(heard).toContain(`Filename 'board1/kernel'.`);
    expect(heard).toContain('Linux version');
    const life = await lastLife(rack);
    expect(life.slice(0, heard.length)).toBe(heard);
    // What nobody asked for any more is no more than a prompt.
    expect(life.length - heard.length).toBeLessThan(32);

    const testRunId = outputOf(pipeline, 'test');
    const { results } = await lab.testRuns.getTestRun(testRunId);
    expect(results?.totals).toMatchObject({ total: 5, pass: 5 });
    const junit = (await lab.artifacts.getArtifactsByProducer(testRunId)).find((file) => file.filename === 'junit.xml');
    expect((await lab.artifacts.readAll(junit ?? expect.fail())).toString()).toContain('the machine is an aarch64');

    const now = await lab.boards.getBoardStatus(board.id);
    expect(now).toMatchObject({ status: 'available', currentFirmwareVersion: source.commitHash });
    expect(await lab.flash.verifyFirmware(board.id)).toMatchObject({ verified: true });
  });

  test('R18.3, R18.2, R18.5: is reset by its outlet when its kernel freezes in a test, and comes back', async () => {
    // To idle, with nothing that would wake it.
    const commands = [{ name: 'freezes', argv: ['sh', '-c', 'echo freeze > /sys/power/state'] }];
    const source = await boardBsp(rack.settings.folder);
    const tests = { from: 'console-shell', commands, timeoutMs: 6_000 } as const;
    const pipeline = await runPipeline(lab, await boardPipeline(source, { tests }));
    expect(stagesOf(pipeline)).toBe('completed completed completed failed');
    // Its kernel was told to keep quiet for the tests, so that is the last that was heard.
    expect((await heardIn(lab, pipeline)).trimEnd()).toMatch(/bringup-[a-z0-9]+$/);
    const [cycle] = await lab.power.getPowerHistory(board.id);
    expect(cycle).toMatchObject({
      trigger: 'hang',
      action: 'cycle',
      state: 'succeeded',
      result: 'answered',
      cycles: 1,
    });
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({ status: 'available' });
    // It was left to boot by itself.
    await untilSaid(rack, 'bsp: ready');
    expect(await rack.board.machines()).toHaveLength(1);
    good = await lab.deployments.getDeploymentStatus(outputOf(pipeline, 'deploy'));
  });

  test('E-boot, R6.4: is rolled back to what booted last when what is new panics', async () => {
    const bad = await build(lab, rack.settings.folder, async (tree) => {
      const file = join(tree, 'init.c');
      const text = await readFile(file, 'utf8');
      await writeFile(file, text.replace('int main(void) {', 'int main(void) {\n  if (getpid() == 1) return 3;'));
    });
    const { id } = await lab.deployments.deployToBoard({ artifacts: { buildId: bad.id }, boardId: board.id });
    const failed = await lab.deployments.waitForDeployment(id);
    expect(failed).toMatchObject({
      status: 'failed',
      boot: { outcome: 'failed' },
      error: { code: 'boot-failed', details: { lastKnownGood: { buildId: good.buildId } } },
    });
    const log = await textOf(lab.deployments.getBootLog(id));
    expect(log).toContain('Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000300');
    expect((await lastLife(rack)).startsWith(log)).toBe(true);

    const rollback = await lab.deployments.rollbackDeployment(id);
    const back = await lab.deployments.waitForDeployment(rollback.id);
    expect(back).toMatchObject({ status: 'completed', bootVerified: true, buildId: good.buildId });
    expect(await lab.deployments.getDeploymentStatus(id)).toMatchObject({ status: 'rolled_back' });
    await untilSaid(rack, 'bsp: ready');
    await lab.deployments.releaseDeployment(back.id);
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({
      status: 'available',
      firmware: { buildId: good.buildId },
    });
  });
});

describe('A board that boots from its disk and is flashed by its own U-Boot,', () => {
  let rack: BoardRack;
  let lab: Lab;
  let board: Board;
  let built: BuildJob;
  /** Called with what the board says while it is flashed. */
  let listen: BoardLabOptions['whileFlashing'];
  beforeAll(async () => {
    rack = await startBoardRack({ name: 'board2', boots: 'disk' });
    lab = await openBoardLab(rack.settings);
    board = await registerRack(lab, rack, { flash: 'uboot', flashStationId: rack.settings.board.console });
    built = await build(lab, rack.settings.folder);
    await lab[Symbol.asyncDispose]();
  });
  afterAll(() => takeDown(lab, rack));

  test('E-flash, P15: keeps what was flashed when the controller is killed in the middle; the next one does the rest', async () => {
    const orders: BoardOrders = { settings: rack.settings, buildId: built.id };
    const program = fileURLToPath(new URL('../fixtures/board-controller.ts', import.meta.url));
    const child = spawn(process.execPath, ['--conditions=bringup-source', program, JSON.stringify(orders)], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);

    const looking = await openBoardLab(rack.settings, { roles: [] });
    expect(await looking.boards.getBoardStatus(board.id)).toMatchObject({ status: 'flashing' });
    await looking[Symbol.asyncDispose]();

    lab = await openBoardLab(rack.settings, { whileFlashing: (said) => listen?.(said) });
    const [begun] = await lab.deployments.getDeploymentHistory({ targetId: board.id });
    const done = await lab.deployments.waitForDeployment(begun?.id ?? '');
    expect(done, done.errorMessage).toMatchObject({ status: 'completed', bootVerified: true, buildId: built.id });
    expect((await lab.flash.getFlashHistory(board.id))[0]).toMatchObject({
      status: 'completed',
      attempts: 2,
      receipts: [
        { slot: 'kernel', verified: 'readback' },
        { slot: 'initrd', verified: 'readback' },
      ],
    });
    await untilSaid(rack, 'bsp: ready');
    await lab.deployments.releaseDeployment(done.id);
  });

  test('E-flash, R18.5: is out of use when each flash is cut off by its power, and back when one is not', async () => {
    let said = '';
    let cuts = 0;
    listen = async (text) => {
      said = (said + text).slice(-200);
      if (!said.includes('virtio write')) return;
      said = '';
      cuts += 1;
      await rack.board.switch('off');
      await rack.board.switch('on');
    };
    const request = { artifacts: { buildId: built.id }, boardId: board.id };
    const { id } = await lab.deployments.deployToBoard(request);
    const failed = await lab.deployments.waitForDeployment(id);
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'flash-failed' } });
    expect(cuts).toBe(4);
    expect((await lab.flash.getFlashHistory(board.id))[0]).toMatchObject({
      status: 'failed',
      attempts: 4,
      receipts: [],
    });
    expect((await lab.boards.getBoardStatus(board.id)).status).toBe('offline');
    expect(await lab.alerts.list({ type: 'flash-failed', state: ['open'] })).toMatchObject([{ severity: 'critical' }]);

    listen = undefined;
    const artifactIds = built.artifacts.flatMap(({ id: artifactId, artifactType }) =>
      artifactType === 'kernel_image' || artifactType === 'initrd' ? [artifactId] : [],
    );
    const flash = await lab.boards.flashFirmware(board.id, { artifactIds });
    expect(await lab.flash.waitForFlash(flash.id)).toMatchObject({ status: 'completed' });
    const [restart] = await lab.power.getPowerHistory(board.id);
    expect(restart).toMatchObject({ id: flash.id, by: `flash ${flash.id}`, action: 'cycle', cycles: 1 });
    expect((await lab.boards.getBoardStatus(board.id)).status).toBe('available');
    expect(await lab.alerts.list({ type: 'flash-failed', state: ['open'] })).toEqual([]);
  });
});
