import { describe, expect, it } from 'vitest';
import { limits, type Environment, type EnvironmentRequest } from '@bringup/core';
import { memoryGuests, memoryLab, type MemoryLab } from '@bringup/core/testing';
import { boots, build } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { headCommit, repositories } from '../support/requests.ts';

async function labWithAll(): Promise<{ lab: MemoryLab; buildId: string }> {
  const lab = await memoryLab({ repositories, guest: boots, boardGuest: boots });
  await lab.addServer();
  await lab.addHost();
  await lab.addBoard();
  return { lab, buildId: await build(lab) };
}

async function create(lab: MemoryLab, request: EnvironmentRequest): Promise<Environment> {
  const { id } = await lab.environments.create(request);
  return lab.clock.runUntil(lab.environments.waitForEnvironment(id));
}

describe('an environment', () => {
  it('R11.5, R5.1, R5.2, R5.3, R5.5, R15.2, R15.4: is a VM with the chosen build, and tells where it is and how to get at it', async () => {
    const { lab, buildId } = await labWithAll();
    await using _lab = lab;
    for (const artifacts of [{ buildId }, { commitHash: headCommit }, { branch: 'HEAD' }]) {
      const ready = await create(lab, { targetType: 'qemu_host', artifacts, owner: 'ada', team: 'kernel' });
      expect(ready).toMatchObject({
        status: 'ready',
        owner: 'ada',
        team: 'kernel',
        target: { name: 'host1', status: 'online' },
        buildId,
        commitHash: headCommit,
        deploymentStatus: 'completed',
        access: { ssh: { hostname: 'host1', port: 22 } },
      });
      expect(ready.deployedAt).toBeDefined();
      expect(ready.expiresAt).toBe((ready.deployedAt ?? 0) + limits.deploymentKeepMs);
      expect(await lab.environments.inspect(ready.id)).toMatchObject({ connection: 'connected' });
      lab.hypervisor.host('host1').crash(ready.access.vmName ?? '');
      expect(await lab.environments.inspect(ready.id)).toMatchObject({ connection: 'stopped' });
      lab.shell.host('host1').faults.refuseConnection = true;
      expect(await lab.environments.inspect(ready.id)).toMatchObject({ connection: 'unreachable' });
      lab.shell.host('host1').faults.refuseConnection = false;
      await lab.clock.runUntil(lab.environments.release(ready.id));
      expect(await lab.environments.get(ready.id)).toMatchObject({ status: 'released' });
    }
    await expectNothingHeld(lab);
  });

  it('R11.5, R15.2, R15.4: is a board, with its shell and its serial console', async () => {
    const { lab, buildId } = await labWithAll();
    await using _lab = lab;
    const ready = await create(lab, { targetType: 'physical_board', artifacts: { buildId }, owner: 'ada' });
    expect(ready).toMatchObject({
      status: 'ready',
      target: { name: 'board1', status: 'in_use' },
      buildId,
      access: {
        ssh: { hostname: 'board1', port: 22 },
        console: { name: 'board1', device: '/dev/serial/board1', baudRate: 115_200 },
      },
    });
    await lab.clock.advance(10_000);
    expect(await lab.environments.inspect(ready.id)).toMatchObject({ connection: 'connected' });
    lab.board('board1').hang();
    expect(await lab.environments.inspect(ready.id)).toMatchObject({ connection: 'unreachable' });
    await lab.clock.runUntil(lab.environments.release(ready.id));
    await expectNothingHeld(lab);
  });

  it('is given back when its time is over, later when it is extended, and not while it is tested', async () => {
    const { lab, buildId } = await labWithAll();
    await using _lab = lab;
    const ready = await create(lab, { targetType: 'qemu_host', artifacts: { buildId }, keepMs: 60_000 });
    await lab.environments.extend(ready.id, 120_000);
    await lab.clock.advance(100_000);
    expect((await lab.environments.get(ready.id)).status).toBe('ready');
    const run = await lab.testRuns.runTests(ready.deploymentId, { from: 'console', timeoutMs: 300_000 });
    await lab.clock.advance(100_000);
    expect((await lab.environments.get(ready.id)).status).toBe('ready');
    await lab.clock.runUntil(lab.testRuns.waitForTestRun(run.id));
    await lab.clock.advance(60_000);
    expect(await lab.environments.get(ready.id)).toMatchObject({ status: 'released' });
    await expect(lab.environments.extend(ready.id, 1_000)).rejects.toMatchObject({ code: 'conflict' });
    await expect(lab.environments.extend(ready.id, limits.environmentMaxKeepMs + 1)).rejects.toMatchObject({
      code: 'invalid-input',
    });
    await expectNothingHeld(lab);
  });

  it('that did not boot is kept for a while as failed, and can be rolled back in its place', async () => {
    const lab = await memoryLab({
      repositories,
      guest: (guest) => (broken ? memoryGuests.panics(guest) : boots(guest)),
    });
    let broken = false;
    await using _lab = lab;
    await lab.addServer();
    await lab.addHost();
    const good = await create(lab, { targetType: 'qemu_host', artifacts: { buildId: await build(lab) } });
    await lab.clock.runUntil(lab.environments.release(good.id));
    broken = true;
    const failed = await create(lab, { targetType: 'qemu_host', artifacts: { buildId: await build(lab) } });
    expect(failed).toMatchObject({ status: 'failed', target: { name: 'host1' } });
    broken = false;
    const back = await lab.deployments.rollbackDeployment(failed.deploymentId);
    await lab.clock.runUntil(lab.deployments.waitForDeployment(back.id));
    expect(await lab.environments.get(failed.id)).toMatchObject({
      status: 'ready',
      buildId: good.buildId,
      deploymentId: back.id,
    });
    expect(lab.hypervisor.host('host1').list()).toHaveLength(1);
    await lab.clock.runUntil(lab.environments.release(failed.id));
    await expectNothingHeld(lab);
  });

  it('are listed by owner, team and target, newest first, those that are held unless all are asked for', async () => {
    const { lab, buildId } = await labWithAll();
    await using _lab = lab;
    const request = { targetType: 'qemu_host', artifacts: { buildId } } as const;
    const first = await create(lab, { ...request, owner: 'ada', team: 'kernel' });
    const second = await create(lab, { ...request, owner: 'bob', team: 'kernel' });
    const ids = async (options: Parameters<typeof lab.environments.list>[0]): Promise<string[]> =>
      (await lab.environments.list(options)).map(({ id }) => id);
    expect(await ids({})).toEqual([second.id, first.id]);
    expect(await ids({ owner: 'ada' })).toEqual([first.id]);
    expect(await ids({ team: 'kernel', limit: 1 })).toEqual([second.id]);
    expect(await ids({ targetId: first.target?.id ?? '', before: second.id })).toEqual([first.id]);
    await lab.clock.runUntil(lab.environments.release(first.id));
    expect(await ids({ owner: 'ada' })).toEqual([]);
    expect(await ids({ owner: 'ada', released: true })).toEqual([first.id]);
    await lab.clock.runUntil(lab.environments.release(second.id));
  });

  it('tells one issue a field of a request that is not valid', async () => {
    const { lab } = await labWithAll();
    await using _lab = lab;
    const wrong = { targetType: 'qemu_host', artifacts: {}, boardId: 'x' } as unknown as EnvironmentRequest;
    await expect(lab.environments.create(wrong)).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'artifacts' }, { path: 'boardId' }] },
    });
    await expect(lab.environments.get('nothing')).rejects.toMatchObject({ code: 'not-found' });
  });
});
