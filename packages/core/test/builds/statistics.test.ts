import { describe, expect, it } from 'vitest';
import { memoryLab } from '@bringup/core/testing';
import { kernelBuild, repositories } from '../support/requests.ts';

describe('the figures of builds', () => {
  it('R2.5, R4.3: tell of a server how its builds ended and how long they took on average', async () => {
    let seconds = 0;
    await using lab = await memoryLab({
      repositories,
      build: async ({ sleep, output, args }) => {
        if (args.includes('FAIL=1')) return 2;
        await sleep((seconds += 10) * 1000);
        output('arch/x86/boot/bzImage', 'kernel');
        output('.config', '');
        return 0;
      },
    });
    const server = await lab.addServer();
    await lab.addServer();
    const built = async (more: object = {}): Promise<void> => {
      const { id } = await lab.builds.submitBuild({ ...kernelBuild, serverId: server.id, ...more });
      await lab.clock.runUntil(lab.builds.waitForBuild(id));
    };
    await built();
    await built();
    await built({ buildConfig: { recipe: 'kernel', extraMakeArgs: ['FAIL=1'] } });
    const figures = await lab.builds.getBuildStatistics({ serverId: server.id });
    expect(figures).toMatchObject({ completed: 2, failed: 1, cancelled: 0 });
    expect(figures.successRate).toBeCloseTo(2 / 3);
    expect(figures.averageSeconds).toBeGreaterThanOrEqual(15);
    expect(figures.averageSeconds).toBeLessThan(20);
    expect(await lab.builds.getBuildStatistics({ targetArchitecture: 'riscv64' })).toEqual({
      completed: 0,
      failed: 0,
      cancelled: 0,
    });
    expect(await lab.builds.getBuildHistory({ serverId: server.id })).toHaveLength(3);
  });

  it('R3.5: tell what is queued, for which architecture and since when, and what is under way', async () => {
    await using lab = await memoryLab({ repositories, build: ({ sleep }) => sleep(60_000) });
    await lab.addServer({ maxConcurrentBuilds: 1 });
    const first = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.advance(1_000);
    const second = await lab.builds.submitBuild(kernelBuild);
    await lab.builds.submitBuild({ ...kernelBuild, targetArchitecture: 'arm64' });
    await lab.clock.settle();
    expect(await lab.builds.getQueueStatus()).toEqual({
      queued: 2,
      building: 1,
      queuedByArchitecture: { x86_64: 1, arm64: 1 },
      oldestQueuedAt: second.createdAt,
    });
    await lab.builds.cancelBuild(first.id);
    await lab.clock.runUntil(lab.builds.waitForBuild(first.id));
    expect((await lab.builds.getQueueStatus()).queued).toBeLessThan(2);
  });

  it('R3.5: tell when a queued build is expected to begin, learned from earlier ones', async () => {
    await using lab = await memoryLab({
      repositories,
      build: async ({ sleep, output }) => {
        await sleep(600_000);
        output('arch/x86/boot/bzImage', 'kernel');
        output('.config', '');
      },
    });
    await lab.addServer({ maxConcurrentBuilds: 1 });
    const learned = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.runUntil(lab.builds.waitForBuild(learned.id));
    const now = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.settle();
    await lab.clock.advance(100_000);
    const next = await lab.builds.submitBuild(kernelBuild);
    const afterNext = await lab.builds.submitBuild(kernelBuild);
    await lab.clock.settle();
    expect((await lab.builds.getBuildStatus(now.id)).estimatedStartAt).toBeUndefined();
    const waitMinutes = async (id: string): Promise<number> =>
      Math.round((((await lab.builds.getBuildStatus(id)).estimatedStartAt ?? 0) - lab.clock.now()) / 60_000);
    expect(await waitMinutes(next.id)).toBe(8);
    expect(await waitMinutes(afterNext.id)).toBe(18);
  });
});
