import { join } from 'node:path';
import { createLab, fileArtifactStorage, localQemu, localShell, sqlite, type Lab } from '@bringup/core';

/** The lab of this runner: the machine itself. Its records outlive the job, so that a killed one can be resumed. */
export async function openLab(folder: string): Promise<Lab> {
  const lab = await createLab({
    store: sqlite({ path: join(folder, 'lab.db') }),
    artifacts: fileArtifactStorage({ path: join(folder, 'artifacts') }),
    connectors: { shell: localShell(), hypervisor: localQemu() },
  });
  try {
    // A runner is busy with its own jobs: that must keep none of them waiting.
    for (const kind of ['build_server', 'host'] as const)
      await lab.health.setHealthThresholds({ kind }, { maxUtilizationPercent: null });
    const machine = { hostname: 'localhost', workspace: join(folder, 'workspace') };
    if ((await lab.buildServers.findServer('localhost')) === undefined) await lab.buildServers.registerServer(machine);
    if ((await lab.hosts.findHost('localhost')) === undefined) await lab.hosts.registerHost(machine);
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}
