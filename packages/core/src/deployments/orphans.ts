import type { Hypervisor, VmInfo } from '../contracts/hypervisor.ts';
import type { Clock, Logger, Random } from '../contracts/runtime.ts';
import { isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isVmStuck } from '../local/vm-spec.ts';
import type { Host } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Store } from '../store/store.ts';
import { raiseLeftBehind, resolveLeftBehind } from './left-behind.ts';

/** What orphans are searched with. */
export interface OrphanServices {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly labId: string;
  /** Hosts that may be connected to now. */
  readonly hosts: () => Promise<readonly Host[]>;
}

/**
 * Ends the VMs of this lab that nobody knows any more: whose release never reached their host, or whose
 * deployment is not in the store. VMs of others, and of other labs, are left alone. A host that can't be
 * reached has its turn the next time.
 */
export async function reapOrphans(services: OrphanServices, signal: AbortSignal): Promise<void> {
  const { logger, connectors } = services;
  for (const host of await services.hosts()) {
    try {
      const options = { signal, timeoutMs: limits.hypervisorCallTimeoutMs };
      await using session = await connectors.openHost(host, options);
      await reapOn(services, host, session.hypervisor, signal);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ error, host: host.id }, 'VMs that nobody knows could not be searched for');
    }
  }
}

async function reapOn(
  services: OrphanServices,
  host: Host,
  hypervisor: Hypervisor,
  signal: AbortSignal,
): Promise<void> {
  const options = { signal, timeoutMs: limits.hypervisorCallTimeoutMs };
  // In this order: a VM is only created when its deployment is in the store, so whatever is listed and
  // not in the store afterwards has lost it for good.
  const ours = (await hypervisor.listVms(options)).filter(({ tags }) => tags['lab'] === services.labId);
  for (const vm of await withoutOwner(services.store, ours)) await reap(services, host, hypervisor, vm, signal);
}

/** @throws what says something about the host; a VM that can't be removed does not keep the others from it. */
async function reap(
  { store, clock, random, logger }: OrphanServices,
  host: Host,
  hypervisor: Hypervisor,
  { name: vm, tags }: VmInfo,
  signal: AbortSignal,
): Promise<void> {
  const { deployment } = tags;
  try {
    await hypervisor.destroyVm(vm, { signal, timeoutMs: limits.vmRemovalTimeoutMs });
  } catch (error) {
    if (!isBringupError(error, 'hypervisor-failed')) throw error;
    logger.warn({ error, host: host.id, vm }, 'a VM that nobody knows any more could not be removed');
    if (!isVmStuck(error) || deployment === undefined) return;
    const left = { deploymentId: deployment, vm, hostId: host.id, message: error.message };
    await store.transaction((tx) => raiseLeftBehind(tx, left, { clock, random }));
    return;
  }
  logger.warn({ host: host.id, vm, tags }, 'a VM that nobody knows any more was removed');
  if (deployment === undefined) return;
  await store.transaction((tx) => resolveLeftBehind(tx, deployment, clock.now()));
}

/** Those whose deployment is not in the store, or whose environment was given back. */
async function withoutOwner(store: Store, vms: readonly VmInfo[]): Promise<readonly VmInfo[]> {
  const orphans: VmInfo[] = [];
  for (const vm of vms) {
    const owner = await store.db
      .selectFrom('deployments as d')
      .innerJoin('environments as e', 'e.id', 'd.environment_id')
      .select('e.released_at')
      .where('d.id', '=', vm.tags['deployment'] ?? '')
      .executeTakeFirst();
    if (owner === undefined || owner.released_at !== null) orphans.push(vm);
  }
  return orphans;
}
