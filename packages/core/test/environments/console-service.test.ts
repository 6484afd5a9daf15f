import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits, type ConsolePiece, type ConsoleRef, type WatchOptions } from '@bringup/core';
import { memoryGuests, memoryLab, type MemoryBoot, type MemoryLab } from '@bringup/core/testing';
import { boots, build, deployToBoard, labWithBoard } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelPipeline, repositories, textOf } from '../support/requests.ts';

/** Says its lines one a second, a result among them, and goes on running. */
const slowly: MemoryBoot = async (guest) => {
  for (let line = 0; line < 20; line += 1) {
    guest.say(`line ${line}\r\n`);
    await guest.sleep(1_000);
  }
  guest.say('KTAP version 1\r\n1..2\r\n');
  for (const result of ['ok 1 clock', 'ok 2 memory']) {
    await guest.sleep(2_000);
    guest.say(`${result}\r\n`);
  }
  await guest.idle();
};

/** Gathers what a watcher is told, until it ends. */
function watcher(lab: MemoryLab, ref: ConsoleRef, options: WatchOptions = { follow: true }) {
  const pieces: ConsolePiece[] = [];
  const ended = (async () => {
    for await (const piece of lab.consoles.watch(ref, options)) pieces.push(piece);
  })();
  // Whoever waits for its end hears why.
  ended.catch(() => undefined);
  const text = (): string => Buffer.concat(pieces.map(({ bytes }) => bytes)).toString('utf8');
  return { pieces, ended, text };
}

async function pipelineOn(type: 'qemu' | 'physical_board', guest: MemoryBoot) {
  const lab = await memoryLab({ repositories, guest, boardGuest: guest });
  await lab.addServer();
  await lab.addHost();
  const { id: boardId } = await lab.addBoard();
  const { id } = await lab.pipelines.createPipeline({ ...kernelPipeline, environmentType: type });
  const place = async (): Promise<string> => {
    for (;;) {
      await lab.clock.advance(100);
      const { stages } = await lab.pipelines.getPipelineStatus(id);
      const deploy = stages.find(({ name }) => name === 'deploy')?.outputId;
      if (deploy !== undefined) return deploy;
    }
  };
  return { lab, id, boardId, deploymentId: await place() };
}

describe('watching a console that the lab holds', () => {
  it.each(['qemu', 'physical_board'] as const)(
    'R15.4, R15.5, R17.3: several follow a boot and its tests live on a %s while the lab drives it, to their end',
    async (type) => {
      const { lab, id, boardId, deploymentId } = await pipelineOn(type, slowly);
      await using _lab = lab;
      const { environmentId } = await lab.deployments.getDeploymentStatus(deploymentId);
      const watchers = [
        watcher(lab, { deploymentId }),
        watcher(lab, { deploymentId }),
        watcher(lab, { environmentId }),
      ];
      const ofBoard = watcher(lab, { boardId });
      await lab.clock.advance(8_000);
      for (const early of watchers) expect(early.text()).toContain('line 2\r\n');
      const { status } = await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
      expect(status).toBe('completed');
      await lab.clock.runUntil(Promise.all(watchers.map(({ ended }) => ended)));
      const logs = await Promise.all(
        (['boot', 'test'] as const).map((stage) => textOf(lab.pipelines.getStageLogs(id, stage))),
      );
      for (const told of watchers) {
        expect(told.text()).toBe(logs.join(''));
        expect([...new Set(told.pieces.map(({ kind }) => kind))]).toEqual(['boot', 'testrun']);
      }
      // A board is there for the next one: whoever watches it goes on.
      expect(ofBoard.text()).toBe(type === 'qemu' ? '' : logs.join(''));
      await lab.clock.runUntil(lab.boards.decommissionBoard(boardId));
      await lab.clock.runUntil(ofBoard.ended);
    },
  );

  it('goes on where a watcher left off, wherever that was, in another process: no byte is missing or told twice', async () => {
    const { lab, id, deploymentId } = await pipelineOn('qemu', slowly);
    await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    await lab[Symbol.asyncDispose]();
    await using again = await lab.reopen();
    const whole = watcher(again, { deploymentId }, {});
    await whole.ended;
    const places = whole.pieces.flatMap(({ workId, offset, bytes }) =>
      Array.from(bytes, (_, at) => ({ workId, offset: offset + at })),
    );
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: places.length - 1 }), async (at) => {
        const rest = watcher(again, { deploymentId }, { from: places[at] ?? expect.fail() });
        await rest.ended;
        expect(rest.text()).toBe(whole.text().slice(at));
      }),
      { numRuns: 100 },
    );
    const rest = watcher(again, { deploymentId }, { from: whole.pieces.at(-1)?.next ?? expect.fail() });
    await rest.ended;
    expect(rest.pieces).toEqual([]);
  });

  it('is not broken by the death of the process that listens: the one that takes over is heard on', async () => {
    const { lab, id, deploymentId } = await pipelineOn('qemu', slowly);
    await lab.clock.advance(6_000);
    const before = watcher(lab, { deploymentId }, {});
    await before.ended;
    const { next } = before.pieces.at(-1) ?? expect.fail();
    await lab.crash();
    await using again = await lab.reopen();
    const after = watcher(again, { deploymentId }, { from: next, follow: true });
    await again.clock.runUntil(again.pipelines.waitForPipeline(id));
    await again.clock.runUntil(after.ended);
    const logs = await Promise.all(
      (['boot', 'test'] as const).map((stage) => textOf(again.pipelines.getStageLogs(id, stage))),
    );
    expect(before.text() + after.text()).toBe(logs.join(''));
    for (let line = 0; line < 20; line += 1) expect(logs[0]?.split(`line ${line}\r\n`)).toHaveLength(2);
  });

  it('of a board begins with its newest boot, and goes on with what is deployed there next', async () => {
    const { lab, buildId, boardId } = await labWithBoard();
    await using _lab = lab;
    const first = await deployToBoard(lab, buildId);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(first.id));
    const all = watcher(lab, { boardId });
    const second = await deployToBoard(lab, buildId);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(second.id));
    const third = await deployToBoard(lab, buildId);
    await lab.clock.advance(limits.workPollMs);
    expect([...new Set(all.pieces.map(({ deploymentId }) => deploymentId))]).toEqual([first.id, second.id, third.id]);
    const from = all.pieces.find(({ deploymentId }) => deploymentId === second.id) ?? expect.fail();
    for (const [options, expected] of [
      [{}, [third.id]],
      [{ from }, [second.id, third.id]],
    ] as const) {
      const now = watcher(lab, { boardId }, options);
      await now.ended;
      expect([...new Set(now.pieces.map(({ deploymentId }) => deploymentId))]).toEqual(expected);
    }
    await lab.clock.runUntil(lab.deployments.releaseDeployment(third.id));
    await expectNothingHeld(lab);
  });

  it('of a deployment ends when another takes its place, of its environment goes on', async () => {
    const lab = await memoryLab({ repositories, guest: boots });
    await using _lab = lab;
    await lab.addServer();
    await lab.addHost();
    const { id: deploymentId } = await lab.deployments.deployToQemu({ artifacts: { buildId: await build(lab) } });
    const { environmentId } = await lab.clock.runUntil(lab.deployments.waitForDeployment(deploymentId));
    const [one, other] = [watcher(lab, { deploymentId }), watcher(lab, { environmentId })];
    const again = await lab.deployments.retryDeployment(deploymentId);
    await lab.clock.runUntil(one.ended);
    await lab.clock.runUntil(lab.deployments.waitForDeployment(again.id));
    await lab.clock.runUntil(lab.environments.release(environmentId));
    await lab.clock.runUntil(other.ended);
    expect(other.text()).toBe(one.text().repeat(2));
  });

  it('ends when nothing ever ran, and is refused for what there is not', async () => {
    const lab = await memoryLab({ repositories, guest: memoryGuests.silent });
    await using _lab = lab;
    await lab.addServer();
    const { id: deploymentId } = await lab.deployments.deployToQemu({ artifacts: { buildId: await build(lab) } });
    const waiting = watcher(lab, { deploymentId });
    await lab.clock.advance(5_000);
    await lab.deployments.cancelDeployment(deploymentId);
    await lab.clock.runUntil(waiting.ended);
    expect(waiting.pieces).toEqual([]);
    const from = { workId: 'nothing', offset: 0 };
    for (const [ref, options] of [
      [{ deploymentId: 'nothing' }, {}],
      [{ environmentId: 'nothing' }, {}],
      [{ boardId: 'nothing' }, {}],
      [{ deploymentId }, { from }],
    ] as const) {
      await expect(watcher(lab, ref, options).ended).rejects.toMatchObject({ code: 'not-found' });
    }
  });

  it('ends when it is aborted or left, and the boot goes on', async () => {
    const { lab, id, deploymentId } = await pipelineOn('qemu', slowly);
    await using _lab = lab;
    const controller = new AbortController();
    const { ended } = watcher(lab, { deploymentId }, { follow: true, signal: controller.signal });
    await lab.clock.advance(5_000);
    controller.abort();
    await expect(lab.clock.runUntil(ended)).rejects.toMatchObject({ code: 'aborted' });
    await expect(watcher(lab, { deploymentId }, { signal: controller.signal }).ended).rejects.toMatchObject({
      code: 'aborted',
    });
    for await (const { bytes } of lab.consoles.watch({ deploymentId }, { follow: true })) {
      expect(bytes.byteLength).toBeGreaterThan(0);
      break;
    }
    expect(await lab.clock.runUntil(lab.pipelines.waitForPipeline(id))).toMatchObject({ status: 'completed' });
  });
});
