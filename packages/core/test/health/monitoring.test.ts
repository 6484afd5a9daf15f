import { describe, expect, it } from 'vitest';
import { BringupError, limits, roles } from '@bringup/core';
import { memoryLab } from '@bringup/core/testing';
import { alertsOf, eventsOf, plugIn, second, statusesOf, unplug } from './looking.ts';

const repository = 'https://git.example/linux.git';
const repositories = { [repository]: { branches: { main: 'a'.repeat(40) } } };

describe('watching build servers', () => {
  it('R2.1, R2.2: a change of CPU, memory, disk or compilers is visible within ten seconds', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addServer({ machine: { cpuPercent: 10, memoryPercent: 20, storageGb: 100 } });
    await lab.clock.advance(20 * second);
    expect(await lab.buildServers.getServerStatus(id)).toMatchObject({
      status: 'online',
      utilization: { cpuPercent: 10, memoryPercent: 20, storagePercent: 33.3 },
      health: { connectivity: 'healthy', freeStorageGb: 100, activeCompilations: 0, kernelVersion: '6.1.0' },
    });
    lab.changeMachine('build1', { cpuPercent: 90, memoryPercent: 60, storageGb: 50, compilers: 7 });
    await lab.clock.advance(10 * second);
    const [seen] = await lab.buildServers.getAllServers();
    expect(seen).toMatchObject({
      utilization: { memoryPercent: 60, storagePercent: 50 },
      health: { freeStorageGb: 50, activeCompilations: 7 },
    });
    expect(seen?.utilization?.cpuPercent).toBeGreaterThan(80);
  });

  it('R15.5: what changed visibly is told once, what did not is not', async () => {
    await using lab = await memoryLab({ roles });
    await lab.addServer({ machine: { cpuPercent: 10 } });
    await lab.clock.advance(20 * second);
    const told = async (): Promise<number> =>
      (await eventsOf(lab)).filter(({ name }) => name === 'resource:updated').length;
    const before = await told();
    lab.changeMachine('build1', { cpuPercent: 11, memoryPercent: 22 });
    await lab.clock.advance(30 * second);
    expect(await told()).toBe(before);
    lab.changeMachine('build1', { memoryPercent: 40 });
    await lab.clock.advance(30 * second);
    expect(await told()).toBe(before + 1);
  });

  it('R2.3, R16.1: one that is unreachable is offline, its last known state stays readable, builds go elsewhere', async () => {
    await using lab = await memoryLab({ roles, repositories });
    const { id } = await lab.addServer({ machine: { memoryPercent: 42 } });
    const other = await lab.addServer();
    await lab.clock.advance(20 * second);
    unplug(lab, 'build1');
    const unpluggedAt = lab.clock.now();
    await lab.clock.advance(limits.healthIntervalMs);
    const seen = await lab.buildServers.getServerStatus(id);
    expect(seen).toMatchObject({ status: 'offline', utilization: { memoryPercent: 42 } });
    expect(seen.statusReason).toContain('4 tries');
    expect(seen.lastHealthCheck).toBeLessThanOrEqual(unpluggedAt);
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'unreachable', severity: 'critical', resolved: false }]);
    const build = await lab.builds.submitBuild({
      sourceRepository: repository,
      targetArchitecture: 'x86_64',
      buildConfig: { recipe: 'kernel' },
    });
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(build.id))).toMatchObject({
      status: 'completed',
      serverId: other.id,
    });
    plugIn(lab, 'build1');
    await lab.clock.advance(15 * second);
    expect((await lab.buildServers.getServerStatus(id)).status).toBe('online');
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'unreachable', resolved: true }]);
  });

  it('E-ssh-timeout: three retries with growing pauses, then offline; one lost packet is nothing', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addServer();
    await lab.clock.advance(20 * second);
    const tries: number[] = [];
    const { faults } = lab.shell.host('build1');
    faults.hang = true;
    await lab.clock.advance(7 * second);
    faults.hang = false;
    await lab.clock.advance(20 * second);
    expect(await statusesOf(lab, id)).toEqual([]);
    const history = await lab.health.getHealthHistory(id, { resolution: 'raw' });
    expect(history.filter(({ answered }) => answered === 0).length).toBeGreaterThan(0);
    faults.hang = true;
    const from = lab.clock.now();
    await lab.clock.advance(limits.healthIntervalMs);
    for (const { at, answered } of await lab.health.getHealthHistory(id, { resolution: 'raw', from })) {
      if (answered === 0) tries.push(at);
    }
    const { healthProbeMs: probe, healthBackoffMs: backoff } = limits;
    expect(tries.slice(1, 4).map((at, index) => at - (tries[index] ?? 0))).toEqual([
      backoff + probe,
      2 * backoff + probe,
      4 * backoff + probe,
    ]);
    expect(await statusesOf(lab, id)).toEqual(['offline']);
  });

  it('E-ssh-auth: a refused login is not tried again at once, and an administrator is told', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addServer();
    await lab.clock.advance(20 * second);
    lab.shell.host('build1').faults.rejectAuthentication = true;
    lab.shell.host('build1').dropConnections();
    const from = lab.clock.now();
    await lab.clock.advance(30 * second);
    expect(await lab.buildServers.getServerStatus(id)).toMatchObject({ status: 'offline' });
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'authentication-failed', severity: 'critical' }]);
    const looks = await lab.health.getHealthHistory(id, { resolution: 'raw', from });
    expect(looks.filter(({ answered }) => answered === 0)).toHaveLength(1);
  });

  it('R2.4, R16.2: less than ten gigabytes warn, and block new builds where that is wanted', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addServer({ machine: { storageGb: 9 } });
    await lab.clock.advance(10 * second);
    expect(await lab.buildServers.getServerStatus(id)).toMatchObject({ status: 'online', blockedBy: [] });
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'resources-low', severity: 'warning', resolved: false }]);
    await lab.health.setHealthThresholds({ kind: 'build_server' }, { blockOnLowStorage: true });
    await lab.clock.advance(10 * second);
    expect((await lab.buildServers.getServerStatus(id)).blockedBy).toEqual(['disk']);
    // A little above the threshold is not yet well.
    lab.changeMachine('build1', { storageGb: 10.2 });
    await lab.clock.advance(60 * second);
    expect((await lab.buildServers.getServerStatus(id)).blockedBy).toEqual(['disk']);
    lab.changeMachine('build1', { storageGb: 20 });
    await lab.clock.advance(30 * second);
    expect((await lab.buildServers.getServerStatus(id)).blockedBy).toEqual([]);
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'resources-low', resolved: true }]);
  });
});

describe('watching hosts', () => {
  it('R9.1, R9.2, R9.3, R9.5: load and VMs are visible within ten seconds, the past stays readable', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addHost();
    await lab.clock.advance(10 * second);
    expect((await lab.hosts.getHostStatus(id)).health).toMatchObject({ runningVms: 0, connectivity: 'healthy' });
    lab.changeMachine('host1', { memoryPercent: 70 });
    await lab.clock.advance(10 * second);
    const [seen] = await lab.hosts.getAllHosts();
    expect(seen).toMatchObject({ status: 'online', utilization: { memoryPercent: 70 }, runningVmCount: 0 });
    unplug(lab, 'host1');
    await lab.clock.advance(60 * second);
    const offline = await lab.hosts.getHostStatus(id);
    expect(offline).toMatchObject({ status: 'offline', utilization: { memoryPercent: 70 } });
    expect(offline.lastHealthCheck).toBeLessThan(offline.statusSince);
    const history = await lab.health.getHealthHistory(id);
    expect(history.map(({ durationMs }) => durationMs)).toEqual(history.map(() => 60_000));
    expect(history[0]).toMatchObject({ memoryPercentMax: 70 });
    expect(history.at(-1)?.answered).toBeLessThan(history.at(-1)?.looks ?? 0);
  });

  it('E-libvirt: two retries, then degraded and without new VMs; well again when it answers', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addHost();
    await lab.clock.advance(20 * second);
    const down = new BringupError('connection-failed', 'libvirtd is not there', { retryable: true });
    for (let fault = 0; fault < 2; fault += 1) lab.hypervisor.failNext('connect', down);
    await lab.hypervisor.disconnect('host1');
    await lab.clock.advance(20 * second);
    expect(await statusesOf(lab, id)).toEqual([]);
    for (let fault = 0; fault < 5; fault += 1) lab.hypervisor.failNext('connect', down);
    await lab.hypervisor.disconnect('host1');
    await lab.clock.advance(12 * second);
    expect(await lab.hosts.getHostStatus(id)).toMatchObject({ status: 'degraded', blockedBy: ['hypervisor'] });
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'degraded', resolved: false }]);
    await lab.clock.advance(30 * second);
    expect(await lab.hosts.getHostStatus(id)).toMatchObject({ status: 'online', blockedBy: [] });
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'degraded', resolved: true }]);
  });

  it('R9.4: above 85 % of anything it warns and gets no new VMs until it is well below', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addHost({ machine: { memoryPercent: 86 } });
    await lab.clock.advance(10 * second);
    expect((await lab.hosts.getHostStatus(id)).blockedBy).toEqual(['utilization']);
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'resources-low' }]);
    lab.changeMachine('host1', { memoryPercent: 50 });
    await lab.clock.advance(25 * second);
    expect((await lab.hosts.getHostStatus(id)).blockedBy).toEqual([]);
  });
});

describe('watching boards', () => {
  it('R10.1, R10.2, R10.5: temperature, kernel and load are visible within five seconds', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addBoard({ machine: { temperatureCelsius: 40, kernelVersion: '6.6.1-bsp' } });
    await lab.clock.advance(10 * second);
    expect(await lab.boards.getBoardStatus(id)).toMatchObject({
      status: 'available',
      health: { connectivity: 'healthy', temperatureCelsius: 40, powerStatus: 'on', kernelVersion: '6.6.1-bsp' },
    });
    lab.changeMachine('board1', { temperatureCelsius: 60, memoryPercent: 80 });
    await lab.clock.advance(5 * second);
    expect(await lab.boards.getBoardStatus(id)).toMatchObject({
      health: { temperatureCelsius: 60 },
      utilization: { memoryPercent: 80 },
    });
  });

  it('R10.4, R16.3: heat, full storage and a bad connection warn, each until it is over', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addBoard({ machine: { temperatureCelsius: 95, storageGb: 1, storageUsedGb: 30 } });
    await lab.clock.advance(10 * second);
    expect((await alertsOf(lab, id)).map(({ type }) => type).toSorted()).toEqual(['resources-low', 'temperature']);
    lab.changeMachine('board1', { temperatureCelsius: 50, storageGb: 30 });
    await lab.clock.advance(15 * second);
    expect((await alertsOf(lab, id)).every(({ resolved }) => resolved)).toBe(true);
    const { faults } = lab.shell.host('board1');
    for (let time = 0; time < 2; time += 1) {
      faults.hang = true;
      await lab.clock.advance(3 * second);
      faults.hang = false;
      await lab.clock.advance(4 * second);
    }
    expect((await lab.boards.getBoardStatus(id)).health.connectivity).toBe('degraded');
    expect((await alertsOf(lab, id)).at(-1)).toMatchObject({ type: 'connectivity', resolved: false });
    await lab.clock.advance(60 * second);
    expect((await alertsOf(lab, id)).at(-1)).toMatchObject({ type: 'connectivity', resolved: true });
  });

  it('R10.3, R16.1: an unreachable board has its power cycled and comes back', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addBoard();
    await lab.clock.advance(5 * second);
    lab.board('board1').hang();
    await lab.clock.advance(90 * second);
    expect(await statusesOf(lab, id)).toEqual(['offline', 'recovery', 'online']);
    expect((await alertsOf(lab, id))[0]).toMatchObject({ type: 'unreachable', resolved: true });
  });

  it('E-serial: a board that is silent on its console is power-cycled; without power control it is offline', async () => {
    await using lab = await memoryLab({ roles });
    const cycled = await lab.clock.runUntil(lab.addBoard({ without: ['shell'], architecture: 'x86_64' }));
    const left = await lab.clock.runUntil(lab.addBoard({ without: ['shell', 'power'], architecture: 'x86_64' }));
    await lab.clock.advance(10 * second);
    expect(await statusesOf(lab, cycled.id)).toEqual([]);
    lab.board('board1').hang();
    lab.board('board2').hang();
    await lab.clock.advance(30 * second);
    expect((await statusesOf(lab, cycled.id)).slice(0, 2)).toEqual(['offline', 'recovery']);
    expect(await statusesOf(lab, left.id)).toEqual(['offline']);
  });

  it('a console that somebody has open is left alone, and the board is well', async () => {
    await using lab = await memoryLab({ roles });
    const { id, name } = await lab.clock.runUntil(lab.addBoard({ without: ['shell'], architecture: 'x86_64' }));
    await using _console = await lab.serialConsoles.open({ name, device: `/dev/serial/${name}`, baudRate: 115_200 });
    const before = lab.board(name).line.said.length;
    await lab.clock.advance(30 * second);
    expect(lab.board(name).line.said.length).toBe(before);
    expect((await lab.boards.getBoardStatus(id)).status).toBe('available');
  });
});

describe('the monitor', () => {
  it('takes a flapping machine for online only after it has answered for a while', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addServer();
    await lab.clock.advance(10 * second);
    for (let time = 0; time < 6; time += 1) {
      unplug(lab, 'build1');
      await lab.clock.advance(20 * second);
      plugIn(lab, 'build1');
      await lab.clock.advance(20 * second);
    }
    const changes = await statusesOf(lab, id);
    expect(changes.length).toBeLessThanOrEqual(5);
    expect(changes.at(-1)).toBe('offline');
    await lab.clock.advance(limits.healthCalmMaxMs + 30 * second);
    expect((await lab.buildServers.getServerStatus(id)).status).toBe('online');
  });

  it('goes on in another process with what the first one knew', async () => {
    let lab = await memoryLab({ roles });
    const { id } = await lab.addHost({ machine: { memoryPercent: 95 } });
    await lab.clock.advance(10 * second);
    expect(lab.health.isMonitoring).toBe(true);
    await lab.crash();
    lab = await lab.reopen();
    await using _last = lab;
    await lab.clock.advance(30 * second);
    expect(await alertsOf(lab, id)).toHaveLength(1);
    lab.changeMachine('host1', { memoryPercent: 20 });
    await lab.clock.advance(30 * second);
    expect(await alertsOf(lab, id)).toMatchObject([{ type: 'resources-low', resolved: true }]);
  });

  it('looks at a resource on request, whoever watches, and stores what it found', async () => {
    await using lab = await memoryLab();
    const { id } = await lab.addServer({ machine: { memoryPercent: 33 } });
    expect(await lab.clock.runUntil(lab.health.checkBuildServerHealth(id))).toMatchObject({
      status: 'online',
      reachable: true,
      utilization: { memoryPercent: 33 },
    });
    expect((await lab.buildServers.getServerStatus(id)).utilization).toMatchObject({ memoryPercent: 33 });
    unplug(lab, 'build1');
    expect(await lab.clock.runUntil(lab.health.checkBuildServerHealth(id))).toMatchObject({
      status: 'offline',
      reachable: false,
      error: { code: 'connection-failed' },
    });
    await expect(lab.health.checkHostHealth(id)).rejects.toMatchObject({ code: 'not-found' });
  });

  it('stops when it is told to, and watches what was registered or removed since', async () => {
    await using lab = await memoryLab({ roles });
    const { id } = await lab.addServer();
    await lab.clock.advance(20 * second);
    await lab.buildServers.decommissionServer(id);
    await lab.clock.advance(20 * second);
    const other = await lab.addServer({ hostname: 'later' });
    await lab.health.stopMonitoring();
    expect(lab.health.isMonitoring).toBe(false);
    unplug(lab, 'later');
    await lab.clock.advance(60 * second);
    expect((await lab.buildServers.getServerStatus(other.id)).status).toBe('online');
    await lab.health.startMonitoring();
    await lab.clock.advance(30 * second);
    expect((await lab.buildServers.getServerStatus(other.id)).status).toBe('offline');
  });

  it('takes each threshold from the nearest scope that sets it', async () => {
    await using lab = await memoryLab();
    const { id } = await lab.addHost();
    await lab.health.setHealthThresholds({ kind: 'host' }, { maxUtilizationPercent: 70, maxTemperatureCelsius: 60 });
    await lab.health.setHealthThresholds({ resourceId: id }, { maxUtilizationPercent: null });
    expect(await lab.health.getEffectiveThresholds(id)).toMatchObject({
      maxUtilizationPercent: null,
      maxTemperatureCelsius: 60,
      blockOnHighUtilization: true,
    });
    expect(await lab.health.getHealthThresholds({ resourceId: id })).toEqual({ maxUtilizationPercent: null });
    await expect(
      lab.health.setHealthThresholds({ kind: 'host' }, { maxUtilizationPercent: 120 }),
    ).rejects.toMatchObject({ code: 'invalid-input' });
  });
});
