import { describe, expect, it } from 'vitest';
import { memoryLab } from '@bringup/core/testing';

const second = 1000;

describe('watching build servers', () => {
  it('R2.1, R2.2: a change of CPU, memory, disk or compilers is visible within ten seconds', async () => {
    await using lab = await memoryLab({ monitor: true });
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
});
