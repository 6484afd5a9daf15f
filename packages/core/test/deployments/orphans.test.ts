import { BringupError, limits, vmStuck } from '@bringup/core';
import type { HostService, ShellSession, VmSpec } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
import { boots, build } from '../support/boards.ts';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelBuild, repositories } from '../support/requests.ts';

type Host = Awaited<ReturnType<HostService['registerHost']>>;

async function labWithVm(): Promise<{ readonly lab: MemoryLab; readonly host: Host; readonly environmentId: string }> {
  const lab = await memoryLab({ repositories });
  await lab.addServer();
  const host = await lab.addHost();
  const { id } = await lab.builds.submitBuild(kernelBuild);
  await lab.clock.runUntil(lab.builds.waitForBuild(id));
  const { id: environmentId } = await lab.environments.create({ targetType: 'qemu_host', artifacts: { buildId: id } });
  await lab.clock.runUntil(lab.environments.waitForEnvironment(environmentId));
  return { lab, host, environmentId };
}

const names = (lab: MemoryLab, host: Host): string[] =>
  lab.hypervisor
    .host(host.hostname)
    .list()
    .map(({ name }) => name);

/** A VM that is on the host without the lab having put it there. */
async function put(lab: MemoryLab, host: Host, name: string, tags: VmSpec['tags']): Promise<void> {
  const target = { host: { hostname: host.hostname, username: 'lab' }, workspace: '/w' };
  await using hypervisor = await lab.hypervisor.connect(target, {
    exec: async () => ({ exitCode: 0 }),
  } as unknown as ShellSession);
  const machine = { architecture: 'x86_64', cpus: 1, memoryMb: 64, kernel: '/k', commandLine: '' } as const;
  await hypervisor.createVm({ ...machine, name, tags });
}

/** A lab whose host can't let go of some of a deployment's names, and that deployment when it has ended. */
async function deployOver(stuck: number) {
  const lab = await memoryLab({ repositories, guest: boots });
  await lab.addServer();
  const host = await lab.addHost();
  const buildId = await build(lab);
  for (let name = 0; name < stuck; name += 1) {
    lab.hypervisor.failNext('createVm', new BringupError('conflict', `name ${name} is taken`));
    lab.hypervisor.failNext('destroyVm', vmStuck(`name ${name}`, 'Do this.'));
  }
  const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId } });
  return { lab, host, done: await lab.clock.runUntil(lab.deployments.waitForDeployment(id)) };
}

const leftBehind = (lab: MemoryLab) => lab.alerts.list({ type: 'left-behind', state: 'open' });

describe('VMs that nobody knows any more', () => {
  it('are removed when they are this lab’s, and the VMs of everybody else are left alone', async () => {
    const { lab, host } = await labWithVm();
    await using _lab = lab;
    const [known] = lab.hypervisor.host(host.hostname).list();
    const labId = known?.tags['lab'] ?? '';
    expect(labId).not.toBe('');
    await put(lab, host, 'forgotten', { lab: labId, deployment: 'of-a-lost-database' });
    await put(lab, host, 'other-lab', { lab: 'another', deployment: 'unknown' });
    await put(lab, host, 'by-hand', {});
    await lab.clock.advance(limits.orphanSweepMs + 2 * limits.heartbeatMs);
    expect(new Set(names(lab, host))).toEqual(new Set(['by-hand', known?.name, 'other-lab']));
  });

  it('that could not be removed when they were given back are removed later, and the alert ends', async () => {
    const { lab, host, environmentId } = await labWithVm();
    await using _lab = lab;
    const [vm] = names(lab, host);
    for (let failure = 0; failure < limits.releaseAttempts; failure += 1) {
      lab.hypervisor.failNext('destroyVm', new BringupError('hypervisor-failed', 'device or resource busy'));
    }
    await lab.clock.runUntil(lab.environments.release(environmentId).catch(() => undefined));
    expect(await lab.environments.get(environmentId)).toHaveProperty('releasedAt');
    expect(names(lab, host)).toEqual([vm]);
    expect(await lab.alerts.list({ type: 'left-behind', state: 'open' })).toHaveLength(1);
    await lab.clock.advance(limits.orphanSweepMs + 2 * limits.heartbeatMs);
    expect(names(lab, host)).toEqual([]);
    expect(await lab.alerts.list({ type: 'left-behind', state: 'open' })).toEqual([]);
  });

  it('of an environment that lives on are not touched, however often they are searched', async () => {
    const { lab, host, environmentId } = await labWithVm();
    await using _lab = lab;
    const before = names(lab, host);
    await lab.clock.advance(3 * limits.orphanSweepMs);
    expect(await lab.environments.get(environmentId)).not.toHaveProperty('releasedAt');
    expect(names(lab, host)).toEqual(before);
  });

  it('on a host that is out of reach wait until it is back', async () => {
    const { lab, host } = await labWithVm();
    await using _lab = lab;
    const [known] = lab.hypervisor.host(host.hostname).list();
    await put(lab, host, 'forgotten', { lab: known?.tags['lab'] ?? '', deployment: 'gone' });
    lab.shell.host(host.hostname).faults.refuseConnection = true;
    await lab.clock.advance(limits.orphanSweepMs + 2 * limits.heartbeatMs);
    expect(names(lab, host)).toContain('forgotten');
    lab.shell.host(host.hostname).faults.refuseConnection = false;
    await lab.clock.advance(2 * limits.orphanSweepMs);
    expect(names(lab, host)).not.toContain('forgotten');
  });
});

describe('a VM that its hypervisor does not let go of', () => {
  it('is passed by under another name, of which there are limits.vmNames, and a person is told what to do', async () => {
    const { lab, host, done } = await deployOver(limits.vmNames - 1);
    await using _lab = lab;
    expect(done).toMatchObject({ status: 'completed', vmName: `bringup-${done.id}-${limits.vmNames}` });
    expect(names(lab, host)).toEqual([done.vmName]);
    expect(await lab.deployments.getDeploymentStatus(done.id)).toMatchObject({ vmName: done.vmName });
    expect(await leftBehind(lab)).toMatchObject([
      { subject: done.id, message: expect.stringContaining('Do this.') as string, details: { hostId: host.id } },
    ]);
    await lab.clock.runUntil(lab.deployments.releaseDeployment(done.id));
    await expectNothingHeld(lab);
  });

  it('fails its deployment, with what to do, once all its names are taken', async () => {
    const { lab, done } = await deployOver(limits.vmNames);
    await using _lab = lab;
    expect(done).toMatchObject({
      status: 'failed',
      error: { code: 'hypervisor-failed', message: expect.stringContaining('Do this.') as string },
    });
    await expectNothingHeld(lab);
  });

  it('makes room for what takes its place, keeps nothing else from being given back, and is removed when it can be', async () => {
    const { lab, host, done } = await deployOver(0);
    await using _lab = lab;
    const stuck = done.vmName ?? '';
    lab.hypervisor.host(host.hostname).stick(stuck);
    const { id } = await lab.deployments.retryDeployment(done.id);
    const second = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    expect(second.status).toBe('completed');
    expect(await leftBehind(lab)).toMatchObject([{ subject: done.id, details: { vm: stuck } }]);

    const before = lab.clock.now();
    await expect(lab.clock.runUntil(lab.environments.release(done.environmentId))).rejects.toMatchObject({
      message: expect.stringContaining('does not let go') as string,
    });
    expect(lab.clock.now() - before).toBeLessThan(1_000);
    expect(names(lab, host)).toEqual([stuck]);
    expect(await lab.reservations.list()).toEqual([]);

    // Nor does it keep the sweep from what comes after it.
    await put(lab, host, 'forgotten', { ...lab.hypervisor.host(host.hostname).get(stuck)?.tags, deployment: 'lost' });
    await lab.clock.advance(limits.orphanSweepMs + 2 * limits.heartbeatMs);
    expect(names(lab, host)).toEqual([stuck]);
    expect(await leftBehind(lab)).toMatchObject([{ details: { vm: stuck } }]);

    lab.hypervisor.host(host.hostname).stick(stuck, false);
    await lab.clock.advance(limits.orphanSweepMs + 2 * limits.heartbeatMs);
    expect(await leftBehind(lab)).toEqual([]);
    await expectNothingHeld(lab);
  });

  it('boots under another name when it had to be made anew for that', async () => {
    const { lab, host, done } = await deployOver(0);
    await using _lab = lab;
    const there = lab.hypervisor.host(host.hostname);
    const over = new AbortController();
    const breaking = (async () => {
      for await (const { name, type } of there.events.subscribe(over.signal)) {
        // Between its creation and its boot its QEMU ends, and libvirtd crashes as it is started again.
        if (type !== 'created' || there.list().length > 2) continue;
        there.crash(name);
        there.stick(name);
      }
    })();
    const { id } = await lab.deployments.deployToQemu({ artifacts: { buildId: done.buildId ?? '' } });
    const second = await lab.clock.runUntil(lab.deployments.waitForDeployment(id));
    expect(second).toMatchObject({ status: 'completed', vmName: `bringup-${id}-2` });
    expect(there.get(second.vmName ?? '')).toMatchObject({ state: 'running', tags: { deployment: id } });
    expect(await leftBehind(lab)).toMatchObject([{ subject: id, details: { vm: `bringup-${id}` } }]);
    over.abort();
    await breaking.catch(() => {});
  });
});
