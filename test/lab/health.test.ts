import { writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { limits, type BuildServer, type Host, type Lab } from '@bringup/core';
import { openLab, registerMachines, startRemoteMachines, type RemoteMachines } from '../fixtures/machines.ts';

describe('A real machine that is watched', () => {
  let machines: RemoteMachines;
  let lab: Lab;
  let server: BuildServer;
  let host: Host;
  beforeAll(async () => {
    machines = await startRemoteMachines();
    lab = await openLab(machines.settings);
    ({ server, host } = await registerMachines(lab, machines));
  });
  afterAll(async () => {
    await lab?.[Symbol.asyncDispose]();
    await machines?.[Symbol.asyncDispose]();
  });

  /** Does something and waits until a resource has changed to a status; gives how long that took. */
  async function until(id: string, status: string, act: () => Promise<unknown>): Promise<number> {
    const after = await lab.events.cursor();
    const from = Date.now();
    await act();
    for await (const event of lab.events.read({ after, follow: true, signal: AbortSignal.timeout(120_000) })) {
      if (event.name === 'resource:status' && event.subject === id && event.data.status === status) break;
    }
    return Date.now() - from;
  }

  async function openAlerts(id: string): Promise<string[]> {
    const open = new Map<string, string>();
    for await (const event of lab.events.read()) {
      if (event.name === 'alert:raised' && event.data.subject === id) open.set(event.data.id, event.data.type);
      if (event.name === 'alert:resolved') open.delete(event.data.id);
    }
    return [...open.values()].toSorted();
  }

  test('R2.2, R9.2: tells what it is busy with', async () => {
    const [compiling, hosting] = await Promise.all([
      lab.health.checkBuildServerHealth(server.id),
      lab.health.checkHostHealth(host.id),
    ]);
    expect(compiling).toMatchObject({ status: 'online', reachable: true, health: { connectivity: 'healthy' } });
    expect(compiling.utilization?.memoryPercent).toBeGreaterThan(0);
    expect(compiling.health?.kernelVersion).toMatch(/^\d+\./);
    expect(hosting).toMatchObject({ status: 'online', health: { runningVms: 0 } });
  });

  test('P10, P23, R2.3: is offline soon after its sshd has stopped, with an alert, and back when it runs again', async () => {
    const tookMs = await until(server.id, 'offline', () => machines.sshd.stop());
    expect(tookMs).toBeLessThan(limits.healthIntervalMs);
    expect(await openAlerts(server.id)).toEqual(['unreachable']);
    expect((await lab.buildServers.getServerStatus(server.id)).utilization).toBeDefined();
    await until(server.id, 'online', () => machines.sshd.start());
    expect(await openAlerts(server.id)).toEqual([]);
    if ((await lab.hosts.getHostStatus(host.id)).status !== 'online') {
      await until(host.id, 'online', async () => undefined);
    }
  });

  test('E-libvirt: is degraded while its libvirtd is gone, and takes no VMs', async () => {
    await until(host.id, 'degraded', () => machines.libvirtd.crash());
    expect(await lab.hosts.getHostStatus(host.id)).toMatchObject({ blockedBy: ['hypervisor'] });
    // It shares its sshd with the server: a warning of looks lost to the outage before may be open still.
    expect(await openAlerts(host.id)).toContain('degraded');
    await until(host.id, 'online', () => machines.libvirtd.restart());
    expect(await lab.hosts.getHostStatus(host.id)).toMatchObject({ blockedBy: [] });
    expect(await openAlerts(host.id)).not.toContain('degraded');
  });

  test('E-ssh-auth: is offline at once when it refuses the key, and an administrator is told', async () => {
    await until(server.id, 'offline', async () => {
      await writeFile(join(machines.sshd.dir, `authorized_${userInfo().username}`), '');
      await machines.sshd.dropConnections();
    });
    expect(await openAlerts(server.id)).toEqual(['authentication-failed']);
  });
});
