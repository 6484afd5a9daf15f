import { BringupError, limits } from '@bringup/core';
import type { HostService, ShellSession, VmSpec } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { describe, expect, it } from 'vitest';
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
