import { resolveAlert } from '../alerts/raise.ts';
import type { Hypervisor, VmInfo } from '../contracts/hypervisor.ts';
import type { CallOptions, Clock, Logger } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { Host } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Store } from '../store/store.ts';

/** What orphans are searched with. */
export interface OrphanServices {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
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
    const options = { signal, timeoutMs: limits.hypervisorCallTimeoutMs };
    try {
      await using session = await connectors.openHost(host, options);
      await reapOn(services, host, session.hypervisor, options);
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ error, host: host.id }, 'VMs that nobody knows could not be searched for');
    }
  }
}

async function reapOn(
  { store, clock, logger, labId }: OrphanServices,
  host: Host,
  hypervisor: Hypervisor,
  options: CallOptions,
): Promise<void> {
  // In this order: a VM is only created when its deployment is in the store, so whatever is listed and
  // not in the store afterwards has lost it for good.
  const ours = (await hypervisor.listVms(options)).filter(({ tags }) => tags['lab'] === labId);
  for (const { name, tags } of await withoutOwner(store, ours)) {
    await hypervisor.destroyVm(name, options);
    logger.warn({ host: host.id, vm: name, tags }, 'a VM that nobody knows any more was removed');
    const { deployment } = tags;
    if (deployment === undefined) continue;
    await store.transaction((tx) =>
      resolveAlert(tx, { type: 'left-behind', subject: deployment }, 'the VM was found and removed', clock.now()),
    );
  }
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
