import { expect } from 'vitest';
import type { MemoryLab } from '@bringup/core/testing';

/** Asserts that nothing is reserved and that no host has a VM. */
export async function expectNothingHeld(lab: MemoryLab): Promise<void> {
  const servers = await lab.buildServers.getAllServers();
  const hosts = await lab.hosts.getAllHosts();
  const boards = await lab.boards.getAllBoards();
  expect(
    [...servers, ...hosts, ...boards]
      .filter(({ currentUtilization }) => currentUtilization !== 0)
      .map(({ hostname }) => hostname),
    'resources in use',
  ).toEqual([]);
  const vms = hosts.flatMap(({ hostname }) =>
    lab.hypervisor
      .host(hostname)
      .list()
      .map(({ name }) => name),
  );
  expect(vms, 'VMs left behind').toEqual([]);
}
