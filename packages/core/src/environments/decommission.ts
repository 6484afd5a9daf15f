import { withDeadline } from '../async.ts';
import type { Clock, Logger } from '../contracts/runtime.ts';
import type { Decommission } from '../pool/services.ts';
import type { WorkloadService } from './workloads.ts';

/**
 * Takes resources out of the pool. With `force` nothing new gets there first, and what is on it ends:
 * afterwards nobody could reach it any more to stop a build or to remove a VM. What can't be ended, since
 * the resource is out of reach, keeps it no longer than that is tried; an alert names it.
 */
export function decommissioning(parts: {
  readonly workloads: WorkloadService;
  readonly clock: Clock;
  readonly logger: Logger;
}): Decommission {
  const { workloads, clock, logger } = parts;
  const empty = async (id: string, signal: AbortSignal): Promise<void> => {
    const tried = new Set<string>();
    for (;;) {
      const left = (await workloads.list(id)).filter(({ reservationId }) => !tried.has(reservationId));
      if (left.length === 0) return;
      for (const workload of left) {
        tried.add(workload.reservationId);
        try {
          await workloads.end(workload, { signal });
        } catch (error) {
          signal.throwIfAborted();
          logger.warn({ error, resource: id, holder: workload.holder }, 'what is on a resource could not be ended');
        }
      }
    }
  };
  return async (pool, id, { force = false, ...call } = {}) => {
    if (force) {
      await pool.setMaintenance(id, true);
      await withDeadline(clock, `emptying ${id}`, call, (signal) => empty(id, signal));
    }
    await pool.remove(id, { force });
  };
}
