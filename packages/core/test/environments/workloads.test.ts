import { describe, expect, it } from 'vitest';
import { vmRequest } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';
import { expectNothingHeld } from '../support/leftovers.ts';
import { kernelBuild, repositories } from '../support/requests.ts';

describe('what is on a resource', () => {
  it('R12.3: is named, goes on in maintenance, and is released on request', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    const host = await lab.addHost();
    const board = await lab.addBoard();
    const { id } = await lab.builds.submitBuild({ ...kernelBuild, targetArchitecture: board.architecture });
    await lab.clock.runUntil(lab.builds.waitForBuild(id));
    const vm = await lab.environments.create({ targetType: 'qemu_host', artifacts: { buildId: id } });
    await lab.clock.runUntil(lab.environments.waitForEnvironment(vm.id));
    const somebody = vmRequest({ architecture: 'x86_64' });
    const other = await lab.clock.runUntil(lab.reservations.request(somebody, { holder: 'somebody' }));
    await lab.hosts.setMaintenanceMode(host.id, true);
    await lab.clock.advance(5_000);
    expect(await lab.workloads.list(host.id)).toEqual([
      expect.objectContaining({ environmentId: vm.id }),
      expect.objectContaining({ holder: 'somebody', reservationId: other.id }),
    ]);
    expect(await lab.environments.get(vm.id)).not.toHaveProperty('releasedAt');
    await lab.clock.runUntil(lab.workloads.release(host.id));
    expect(await lab.workloads.list(host.id)).toEqual([]);
    expect(await lab.environments.get(vm.id)).toHaveProperty('releasedAt');
    await expectNothingHeld(lab);
  });

  it('R12.4: keeps it from being decommissioned until it is released, or force is used', async () => {
    await using lab = await memoryLab({ repositories, build: ({ sleep }) => sleep(600_000) });
    const server = await lab.addServer();
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(5_000);
    await expect(lab.buildServers.decommissionServer(server.id)).rejects.toMatchObject({
      code: 'conflict',
      details: { holders: [id] },
    });
    await lab.buildServers.setMaintenanceMode(server.id, true);
    await lab.clock.runUntil(lab.workloads.release(server.id));
    expect((await lab.builds.getBuildStatus(id)).status).toBe('cancelled');
    await lab.buildServers.decommissionServer(server.id);
    expect(await lab.buildServers.getAllServers()).toEqual([]);
  });

  it('R12.4: force ends what is on it first: no build goes on there, and no VM is left behind', async () => {
    let ended = 0;
    await using lab = await memoryLab({
      repositories,
      build: async (build) => {
        if (build.args.includes('LONG=1')) await build.sleep(600_000).finally(() => (ended += 1));
        build.output('arch/x86/boot/bzImage', 'kernel');
        build.output('.config', 'CONFIG_64BIT=y\n');
        return 0;
      },
    });
    const [server, host] = [await lab.addServer(), await lab.addHost()];
    const built = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(built.id));
    const vm = await lab.environments.create({ targetType: 'qemu_host', artifacts: { buildId: built.id } });
    await lab.clock.runUntil(lab.environments.waitForEnvironment(vm.id));
    await lab.selection.hosts.selectHost({ architecture: 'x86_64' }, { holder: 'somebody' });
    const long = { ...kernelBuild, buildConfig: { recipe: 'kernel' as const, extraMakeArgs: ['LONG=1'] } };
    const { id } = await lab.builds.submitBuild(long);
    await lab.clock.advance(5_000);
    await lab.clock.runUntil(lab.hosts.decommissionHost(host.id, { force: true }));
    expect(lab.hypervisor.host(host.hostname).list()).toEqual([]);
    expect(await lab.environments.get(vm.id)).toMatchObject({ status: 'released' });
    await lab.clock.runUntil(lab.buildServers.decommissionServer(server.id, { force: true }));
    expect(await lab.builds.getBuildStatus(id)).toMatchObject({ status: 'cancelled' });
    expect(ended).toBe(1);
    expect(await lab.buildServers.getAllServers()).toEqual([]);
    expect(await lab.hosts.getAllHosts()).toEqual([]);
    expect(await lab.reservations.list()).toEqual([]);
  });

  it('R12.4: force takes out a host that is out of reach, too, and tells of the VM that may still run there', async () => {
    await using lab = await memoryLab({ repositories });
    await lab.addServer();
    const host = await lab.addHost();
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(id));
    const vm = await lab.environments.create({ targetType: 'qemu_host', artifacts: { buildId: id } });
    await lab.clock.runUntil(lab.environments.waitForEnvironment(vm.id));
    lab.shell.host(host.hostname).faults.refuseConnection = true;
    const hasty = lab.hosts.decommissionHost(host.id, { force: true, timeoutMs: 1_000 });
    await expect(lab.clock.runUntil(hasty)).rejects.toMatchObject({ code: 'deadline-exceeded' });
    expect(await lab.hosts.getHostStatus(host.id)).toMatchObject({ maintenanceMode: true });
    await lab.clock.runUntil(lab.hosts.decommissionHost(host.id, { force: true }));
    expect(await lab.hosts.getAllHosts()).toEqual([]);
    expect(await lab.alerts.list({ type: 'left-behind' })).toHaveLength(1);
    expect(await lab.environments.get(vm.id)).toHaveProperty('releasedAt');
  });
});
