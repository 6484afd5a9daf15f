import { describe, expect, it } from 'vitest';
import { createLab, limits, roles, type Role } from '@bringup/core';
import { memoryArtifactStorage, memoryLab, type MemoryLab } from '@bringup/core/testing';
import { kernelPipeline, repositories } from './support/requests.ts';

async function labWith(...given: readonly Role[]): Promise<MemoryLab> {
  const lab = await memoryLab({ repositories, roles: given });
  await lab.addServer();
  await lab.addHost();
  return lab;
}

describe('the roles of a process', () => {
  it('decide what it does; others are taken on later', async () => {
    await using lab = await labWith();
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    const stages = async (): Promise<readonly string[]> =>
      (await lab.pipelines.getPipelineStatus(id)).stages.map(({ status }) => status);
    await lab.clock.advance(limits.leaseMs);
    expect(await stages()).toEqual(['pending', 'pending', 'pending', 'pending']);
    await lab.start({ roles: ['builds'] });
    await lab.clock.advance(60_000);
    expect((await stages())[0]).toBe('completed');
    expect((await stages())[2]).toBe('pending');
    await lab.start({ roles: ['deployments'] });
    await lab.clock.runUntil(lab.pipelines.waitForPipeline(id));
    expect(await stages()).toEqual(['completed', 'completed', 'completed', 'completed']);
  });

  it('are all of them unless it is said otherwise, and each is taken on once', async () => {
    await using lab = await labWith();
    await lab.start();
    await lab.start({ roles });
    expect(lab.health.isMonitoring).toBe(true);
    const { id } = await lab.pipelines.createPipeline(kernelPipeline);
    expect((await lab.clock.runUntil(lab.pipelines.waitForPipeline(id))).status).toBe('completed');
  });

  it('that there are none of are refused, and the others are not taken on', async () => {
    const wrong = ['health', 'cooking'] as unknown as Role[];
    await using lab = await labWith();
    await expect(lab.start({ roles: wrong })).rejects.toMatchObject({
      code: 'invalid-input',
      details: { issues: [{ path: 'roles.1' }] },
    });
    expect(lab.health.isMonitoring).toBe(false);
    await expect(createLab({ artifacts: memoryArtifactStorage(), roles: wrong })).rejects.toMatchObject({
      code: 'invalid-input',
    });
  });

  it('recovery frees what nobody holds any more; without it nothing is freed', async () => {
    await using lab = await labWith('builds', 'deployments');
    const { success } = await lab.selection.hosts.selectHost({ architecture: 'x86_64' }, { holder: 'a job that died' });
    expect(success).toBe(true);
    await lab.clock.advance(2 * limits.reservationMs);
    expect(await lab.reservations.list()).toHaveLength(1);
    await lab.start({ roles: ['recovery'] });
    await lab.clock.advance(limits.heartbeatMs);
    expect(await lab.reservations.list()).toEqual([]);
  });
});
