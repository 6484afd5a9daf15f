import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { buildRequest, limits, type MaintenanceWindow } from '@bringup/core';
import { memoryLab, type MemoryLab } from '@bringup/core/testing';
import { kernelBuild, repositories } from '../support/requests.ts';

const hour = 3_600_000;

/** Whether the pool gives the server out right now. */
async function isGiven(lab: MemoryLab, serverId: string): Promise<boolean> {
  const outcome = await lab.selection.candidates(buildRequest({ targetArchitecture: 'x86_64', serverId }));
  return outcome.some(({ resourceId }) => resourceId === serverId);
}

describe('a maintenance window', () => {
  it('R12.5, R12.1: is shown with the capacity it takes away, begins and ends by the clock', async () => {
    await using lab = await memoryLab();
    const server = await lab.addServer({ maxConcurrentBuilds: 3, machine: { cpuCores: 16, memoryMb: 65_536 } });
    const startsAt = lab.clock.now() + hour;
    const [window] = await lab.maintenance.schedule({
      resourceIds: [server.id],
      startsAt,
      endsAt: startsAt + hour,
      reason: 'new memory',
    });
    expect(await lab.maintenance.list()).toEqual([
      expect.objectContaining({
        id: window?.id,
        name: 'build1',
        state: 'scheduled',
        reason: 'new memory',
        capacity: expect.objectContaining({ slots: 3, cpuCores: 16, memoryMb: 65_536 }),
      }),
    ]);
    expect(await isGiven(lab, server.id)).toBe(true);
    await lab.clock.advance(hour + limits.heartbeatMs);
    expect(await lab.buildServers.getServerStatus(server.id)).toMatchObject({
      status: 'maintenance',
      maintenanceMode: true,
    });
    expect(await isGiven(lab, server.id)).toBe(false);
    await lab.clock.advance(hour);
    expect(await lab.buildServers.getServerStatus(server.id)).toMatchObject({ status: 'online' });
    expect(await isGiven(lab, server.id)).toBe(true);
    expect(await lab.maintenance.list()).toEqual([]);
  });

  it('R12.5: is begun and ended by whoever opens the lab after it was closed', async () => {
    const lab = await memoryLab();
    const server = await lab.addServer();
    const startsAt = lab.clock.now() + hour;
    await lab.maintenance.schedule({ resourceIds: [server.id], startsAt, endsAt: startsAt + hour });
    await lab.crash();
    await lab.clock.advance(hour + 1);
    await using next = await lab.reopen();
    await next.clock.advance(limits.heartbeatMs);
    expect(await isGiven(next, server.id)).toBe(false);
    await next.clock.advance(hour);
    expect(await isGiven(next, server.id)).toBe(true);
  });

  it(
    'P18: whatever windows there are, nothing is given out in any of them, and everything outside',
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(10), fc.integer({ min: 1, max: 4 })), { maxLength: 5 }),
          fc.option(fc.nat(14), { nil: undefined }),
          async (windows, manual) => {
            await using lab = await memoryLab();
            const server = await lab.addServer();
            const start = lab.clock.now();
            // Ends lie between two looks, and so does everything else that changes.
            const unit = 2 * limits.heartbeatMs;
            for (const [from, length] of windows) {
              const startsAt = start + from * unit + unit / 4;
              await lab.maintenance.schedule({ resourceIds: [server.id], startsAt, endsAt: startsAt + length * unit });
            }
            for (let now = 0; now <= 14; now += 1) {
              if (manual !== undefined && now >= manual) {
                await lab.buildServers.setMaintenanceMode(server.id, true);
              }
              const inOne = windows.some(([from, length]) => now > from && now <= from + length);
              const isFree = !inOne && !(manual !== undefined && now >= manual);
              expect(await isGiven(lab, server.id)).toBe(isFree);
              await lab.clock.advance(unit);
            }
          },
        ),
        { numRuns: 100 },
      ),
    120_000,
  );

  it('can be cancelled before it begins and ended before its time, but not once it is over', async () => {
    await using lab = await memoryLab();
    const server = await lab.addServer();
    const now = lab.clock.now();
    const schedule = async (startsAt: number): Promise<MaintenanceWindow> => {
      const [window] = await lab.maintenance.schedule({ resourceIds: [server.id], startsAt, endsAt: now + 9 * hour });
      return window ?? expect.fail();
    };
    const later = await schedule(now + hour);
    expect((await lab.maintenance.cancel(later.id)).state).toBe('cancelled');
    const begun = await schedule(now - hour);
    expect(begun.state).toBe('active');
    expect(await isGiven(lab, server.id)).toBe(false);
    expect((await lab.maintenance.cancel(begun.id)).state).toBe('ended');
    expect(await isGiven(lab, server.id)).toBe(true);
    await expect(lab.maintenance.cancel(begun.id)).rejects.toMatchObject({ code: 'conflict' });
  });

  it('is refused field by field when it makes no sense', async () => {
    await using lab = await memoryLab();
    const now = lab.clock.now();
    await expect(lab.maintenance.schedule({ startsAt: now, endsAt: now - 1 })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'resourceIds' }, { path: 'endsAt' }, { path: 'endsAt' }] },
    });
    await expect(
      lab.maintenance.schedule({ resourceIds: ['nobody'], startsAt: now, endsAt: now + 1 }),
    ).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('a resource in maintenance', () => {
  it('R12.1: of any kind takes nothing new and says so; waiting work gets it when maintenance ends', async () => {
    await using lab = await memoryLab({ repositories });
    const server = await lab.addServer();
    const host = await lab.addHost();
    const board = await lab.addBoard();
    await lab.buildServers.setMaintenanceMode(server.id, true);
    expect((await lab.hosts.setMaintenanceMode(host.id, true)).status).toBe('maintenance');
    expect((await lab.boards.setMaintenanceMode(board.id, true)).status).toBe('maintenance');
    const { id } = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(hour / 2);
    expect(await lab.builds.getBuildStatus(id)).toMatchObject({ status: 'queued', phase: 'waiting' });
    await lab.buildServers.setMaintenanceMode(server.id, false);
    expect(await lab.clock.runUntil(lab.builds.waitForBuild(id))).toMatchObject({ status: 'completed' });
  });

  it('R12.2: finishes the builds it has, while queued ones go elsewhere', async () => {
    await using lab = await memoryLab({
      repositories,
      build: async ({ sleep, output }) => {
        await sleep(60_000);
        output('arch/x86/boot/bzImage', 'kernel');
        output('.config', '');
      },
    });
    const server = await lab.addServer({ maxConcurrentBuilds: 1 });
    const running = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(5_000);
    const queued = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.settle();
    await lab.buildServers.setMaintenanceMode(server.id, true);
    const other = await lab.addServer();
    const [first, second] = await lab.clock.runUntil(
      Promise.all([lab.builds.waitForBuild(running.id), lab.builds.waitForBuild(queued.id)]),
    );
    expect(first).toMatchObject({ status: 'completed', serverId: server.id });
    expect(second).toMatchObject({ status: 'completed', serverId: other.id });
  });
});
