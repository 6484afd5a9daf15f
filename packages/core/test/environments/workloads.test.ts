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
    const forced = await lab.addServer();
    const second = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(5_000);
    await lab.buildServers.decommissionServer(forced.id, { force: true });
    expect(await lab.buildServers.getAllServers()).toEqual([]);
    await lab.builds.cancelBuild(second.id);
    await lab.clock.runUntil(lab.builds.waitForBuild(second.id));
  });
});
