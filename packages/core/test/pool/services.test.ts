import { describe, expect, it } from 'vitest';
import { memoryLab, plainMemoryBuild, type MemoryLab, type MemoryLabOptions } from '@bringup/core/testing';
import { kernelBuild, repositories } from '../support/requests.ts';
import { limits } from '@bringup/core';

const request = {
  kind: 'host',
  architecture: 'x86_64',
  traits: [],
  minimum: { cpu: 0, memoryMb: 0, storageGb: 0 },
} as const;

describe('changing a registration', () => {
  it('R1.5: changes labels and limits without a look, and selection knows at once', async () => {
    await using lab = await memoryLab({ repositories });
    const server = await lab.addServer({ labels: { rack: 'a' }, maxConcurrentBuilds: 2 });
    lab.shell.host('build1').faults.refuseConnection = true;
    const changes = { labels: { rack: 'b' }, maxConcurrentBuilds: 5 };
    const changed = await lab.buildServers.updateServer(server.id, changes);
    expect(changed).toMatchObject({ ...changes, createdAt: server.createdAt, toolchains: server.toolchains });
    lab.shell.host('build1').faults.refuseConnection = false;
    const build = await lab.builds.submitBuild({ ...kernelBuild, requiredLabels: { rack: 'b' } });
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(build.id))).toMatchObject({ status: 'completed' });
  });

  it('looks anew when the connection changes, and keeps what is reserved', async () => {
    await using lab = await memoryLab();
    const host = await lab.addHost({ machine: { cpuCores: 8 } });
    const use = { slots: 1, cpu: 3, memoryMb: 0, storageGb: 0 };
    await lab.selection.reserve({ ...request, use }, 'somebody');
    lab.shell.host('host1').faults.rejectAuthentication = true;
    await expect(lab.hosts.updateHost(host.id, { sshUsername: 'lab' })).rejects.toMatchObject({
      code: 'authentication-failed',
    });
    expect((await lab.hosts.getHostStatus(host.id)).sshUsername).toBeUndefined();
    lab.shell.host('host1').faults.rejectAuthentication = false;
    expect(await lab.hosts.updateHost(host.id, { sshUsername: 'lab', sshPort: 2222 })).toMatchObject({
      sshUsername: 'lab',
      sshPort: 2222,
      runningVmCount: 1,
      currentUtilization: 3 / 8,
    });
    expect((await lab.hosts.updateHost(host.id, { sshPort: null })).sshPort).toBeUndefined();
    expect(await lab.hosts.getHostCapacity(host.id)).toMatchObject({ availableCpuCores: 5 });
  });

  it('E-invalid: checks the whole of what a registration becomes', async () => {
    await using lab = await memoryLab();
    const board = await lab.addBoard();
    await expect(lab.boards.updateBoard(board.id, { serialDevice: null, hostname: null })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'hostname' }] },
    });
    await expect(lab.boards.updateBoard('nobody', { labels: {} })).rejects.toMatchObject({ code: 'not-found' });
    await lab.addBoard();
    await expect(lab.boards.updateBoard(board.id, { name: 'board2' })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('R8.4, R8.5: attaches a power outlet and a flash station later, which must answer', async () => {
    await using lab = await memoryLab();
    const board = await lab.addBoard({ without: ['power', 'flash'] });
    expect(board.powerControl).toEqual({ method: 'manual' });
    await expect(lab.boards.updateBoard(board.id, { flashStationId: 'none' })).rejects.toMatchObject({
      code: 'not-found',
    });
    const powerControl = { method: 'usb_hub', usbHubPort: 'board1' } as const;
    const changed = await lab.boards.updateBoard(board.id, { powerControl, flashStationId: 'station-board1' });
    expect(changed).toMatchObject({ powerControl, flash: 'memory', health: { powerStatus: 'on' } });
  });
});

async function busyServer(lab: MemoryLab, builds: number): Promise<string> {
  const server = await lab.addServer({ maxConcurrentBuilds: 1 });
  for (let i = 0; i < builds; i += 1) await lab.builds.submitBuild(kernelBuild);
  await lab.clock.advance(1_000);
  return server.id;
}

/** Builds take a minute. */
const minute: MemoryLabOptions = {
  repositories,
  build: async (build) => {
    await build.sleep(59_000);
    return plainMemoryBuild(build);
  },
};

describe('watching build servers', () => {
  it('R2.1: tells active builds, queue depth and utilization', async () => {
    await using lab = await memoryLab(minute);
    const id = await busyServer(lab, 3);
    const other = await lab.addServer({ machine: { toolchains: [{ targetArchitecture: 'riscv64' }] } });
    const [server, idle] = await lab.buildServers.getAllServers();
    expect(server).toMatchObject({ id, activeBuildCount: 1, queueDepth: 2, currentUtilization: 1, status: 'online' });
    expect(idle).toMatchObject({ id: other.id, activeBuildCount: 0, queueDepth: 0, currentUtilization: 0 });
    expect(await lab.buildServers.getActiveBuilds(id)).toMatchObject([{ status: 'building', serverId: id }]);
  });

  it('counts a build that waits for one server for that server alone', async () => {
    await using lab = await memoryLab(minute);
    const id = await busyServer(lab, 1);
    await lab.addServer();
    await lab.builds.submitBuild({ ...kernelBuild, serverId: id });
    await lab.clock.advance(1_000);
    expect((await lab.buildServers.getAllServers()).map(({ queueDepth }) => queueDepth)).toEqual([1, 0]);
  });

  it('tells what it has to give, and when a new build could start', async () => {
    await using lab = await memoryLab(minute);
    const server = await lab.addServer({ maxConcurrentBuilds: 1 });
    expect(await lab.buildServers.getServerCapacity(server.id)).toEqual({
      availableCpuCores: 8,
      availableMemoryMb: 16_384,
      availableStorageGb: 200,
      canAcceptBuild: true,
      estimatedQueueTimeSeconds: 0,
    });
    const first = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(first.id));
    for (let i = 0; i < 3; i += 1) await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(10_000);
    const busy = await lab.buildServers.getServerCapacity(server.id);
    expect(busy.canAcceptBuild).toBe(false);
    // Two more in the queue, and what is left of the one that runs.
    expect(Math.abs(busy.estimatedQueueTimeSeconds - 170)).toBeLessThan(10);
    await lab.buildServers.setMaintenanceMode(server.id, true);
    expect(await lab.buildServers.getServerCapacity(server.id)).toMatchObject({ canAcceptBuild: false });
  });

  it('R2.5: tells all about one: toolchains, builds now and before, and how long they take', async () => {
    await using lab = await memoryLab(minute);
    const server = await lab.addServer({ maxConcurrentBuilds: 1 });
    expect(await lab.buildServers.getServerDetail(server.id)).toEqual({
      server,
      capacity: await lab.buildServers.getServerCapacity(server.id),
      currentBuilds: [],
      recentBuilds: [],
    });
    const first = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(first.id));
    const second = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(1_000);
    const detail = await lab.buildServers.getServerDetail(server.id);
    expect(detail.server.toolchains).toEqual(await lab.buildServers.getInstalledToolchains(server.id));
    expect(detail.currentBuilds.map(({ id }) => id)).toEqual([second.id]);
    expect(detail.recentBuilds.map(({ id }) => id)).toEqual([second.id, first.id]);
    expect(Math.abs((detail.averageBuildTimeSeconds ?? 0) - 60)).toBeLessThan(5);
  });
});

describe('watching hosts', () => {
  it('R9.5: tells the VMs that run there, the lab’s and others’', async () => {
    await using lab = await memoryLab();
    const host = await lab.addHost();
    const world = lab.hypervisor.host('host1');
    const spec = { architecture: 'x86_64', cpus: 1, memoryMb: 64, kernel: '/k', commandLine: '', tags: {} } as const;
    world.create({ ...spec, name: 'mine' });
    expect(await lab.hosts.getRunningVms(host.id)).toMatchObject([{ name: 'mine' }]);
  });

  it('tells what it has to give', async () => {
    await using lab = await memoryLab();
    const host = await lab.addHost({ machine: { cpuCores: 4, memoryMb: 4096, storageGb: 100 }, maxVms: 2 });
    const use = { slots: 1, cpu: 3, memoryMb: 1024, storageGb: 10 };
    await lab.selection.reserve({ ...request, use }, 'somebody');
    const left = { availableCpuCores: 1, availableMemoryMb: 3072, availableStorageGb: 90 };
    expect(await lab.hosts.getHostCapacity(host.id)).toEqual({
      ...left,
      canAllocateVm: true,
      maxVmCpu: 1,
      maxVmMemoryMb: 3072,
    });
    await lab.hosts.setMaintenanceMode(host.id, true);
    expect(await lab.hosts.getHostCapacity(host.id)).toEqual({
      ...left,
      canAllocateVm: false,
      maxVmCpu: 0,
      maxVmMemoryMb: 0,
    });
  });
});

describe('a diagnosis', () => {
  it('R15.3, R15.4: tells state, ways in, holders, events and what failed there, with the end of its log', async () => {
    await using lab = await memoryLab({
      repositories,
      build: async ({ log }) => {
        await log('main.c:1: error: no\n');
        return 2;
      },
    });
    const server = await lab.addServer({ ipAddress: '192.0.2.5', sshPort: 2222, sshUsername: 'ci', sshKeyPath: '/k' });
    const build = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(build.id));
    const diagnosis = await lab.diagnose(server.id);
    expect(diagnosis).toMatchObject({
      kind: 'build_server',
      name: 'build1',
      status: 'online',
      maintenanceMode: false,
      access: { ssh: { address: '192.0.2.5', command: 'ssh -p 2222 -i /k ci@192.0.2.5' } },
      heldBy: [],
      failures: [{ id: build.id, kind: 'build', error: { code: 'build-failed' } }],
    });
    expect(diagnosis.failures[0]?.logTail).toContain('main.c:1: error: no');
    expect(diagnosis.events.map(({ name }) => name)).toContain('resource:registered');
    await expect(lab.diagnose('nobody')).rejects.toMatchObject({ code: 'not-found' });
  });

  it('R15.4: tells the serial console of a board, and who holds it', async () => {
    await using lab = await memoryLab();
    const board = await lab.addBoard({ serialBaudRate: 57_600 });
    const use = { slots: 1, cpu: 0, memoryMb: 0, storageGb: 0 };
    await lab.selection.reserve({ ...request, kind: 'board', use }, 'somebody');
    expect(await lab.diagnose(board.id)).toMatchObject({
      access: {
        ssh: { command: 'ssh board1' },
        serial: { device: '/dev/serial/board1', baudRate: 57_600, console: 'memory' },
      },
      heldBy: [{ holder: 'somebody', since: lab.clock.now(), expiresAt: lab.clock.now() + limits.reservationMs }],
    });
    expect(await lab.boards.getBoardStatus(board.id)).toMatchObject({ status: 'in_use', assignedTestId: 'somebody' });
  });
});
