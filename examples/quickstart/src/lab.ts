import { join } from 'node:path';
import {
  createLab,
  fileArtifactStorage,
  localQemu,
  localShell,
  sqlite,
  type Lab,
  type TransferReport,
} from '@bringup/core';

/** Options of {@link openLab}. */
export interface OpenOptions {
  /** Hears of bytes on the move. */
  readonly onTransfer: (report: TransferReport) => void;
  /** Hears of what goes wrong without stopping anything. */
  readonly onWarning: (text: string) => void;
  readonly signal: AbortSignal;
}

/** Opens the lab that lives in a folder: this machine is its build server and its QEMU host. */
export async function openLab(folder: string, { onTransfer, onWarning, signal }: OpenOptions): Promise<Lab> {
  const warn = (_details: object, message: string): void => onWarning(message);
  const lab = await createLab({
    store: sqlite({ path: join(folder, 'lab.db') }),
    artifacts: fileArtifactStorage({ path: join(folder, 'artifacts') }),
    connectors: { shell: localShell(), hypervisor: localQemu() },
    logger: { debug: () => undefined, info: () => undefined, warn, error: warn },
    onTransfer,
  });
  try {
    await addThisMachine(lab, join(folder, 'workspace'), signal);
    return lab;
  } catch (error) {
    await lab[Symbol.asyncDispose]();
    throw error;
  }
}

async function addThisMachine(
  { buildServers, hosts, health }: Lab,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  const hostname = 'localhost';
  // There is no other: that it is busy must keep nothing waiting.
  for (const kind of ['build_server', 'host'] as const)
    await health.setHealthThresholds({ kind }, { maxUtilizationPercent: null });
  const [buildFolder, vmFolder] = [join(folder, 'builds'), join(folder, 'vms')];
  // A state folder that was moved is another place to work in.
  const server = await buildServers.findServer(hostname);
  if (server !== undefined && server.workspace !== buildFolder)
    await buildServers.decommissionServer(server.id, { force: true });
  if (server?.workspace !== buildFolder)
    await buildServers.registerServer({ hostname, workspace: buildFolder }, { signal });
  const host = await hosts.findHost(hostname);
  if (host !== undefined && host.workspace !== vmFolder) await hosts.decommissionHost(host.id, { force: true });
  if (host?.workspace !== vmFolder) await hosts.registerHost({ hostname, workspace: vmFolder }, { signal });
}
