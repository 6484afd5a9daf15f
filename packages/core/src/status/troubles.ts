import { limits } from '../limits.ts';
import type { LabStatus, LabTrouble } from '../model/lab-status.ts';

/** A status before it is judged. */
export type UnjudgedStatus = Omit<LabStatus, 'condition' | 'troubles'>;

/** What is wrong, and what a person can do about it; the worst first. */
export function troublesOf(status: UnjudgedStatus, anyResource: boolean): readonly LabTrouble[] {
  const { store, events, alerts } = status;
  const troubles: LabTrouble[] = [];
  const find = (
    part: LabTrouble['part'],
    message: string | undefined,
    condition: LabTrouble['condition'] = 'degraded',
  ): void => {
    if (message !== undefined) troubles.push({ condition, part, message });
  };
  find(
    'store',
    store.reachable
      ? undefined
      : `The database does not answer (${store.error}). Look after the database and the way to it: no process can work without it.`,
    'failed',
  );
  find(
    'store',
    store.reachable && store.latencyMs > limits.statusStoreSlowMs
      ? `The database took ${store.latencyMs} ms for a small read. Look what else its disk and its machine are busy with.`
      : undefined,
  );
  find('work', staleLeases(status), 'failed');
  find('work', queueTrouble(status));
  if (anyResource) find('health', unwatched(status));
  find('health', lateLooks(status));
  find('recovery', overdueUpkeep(status));
  find(
    'events',
    events !== undefined && events.lag > limits.statusEventLag
      ? `Listeners of this process are ${events.lag} events behind. A listener takes too long, or the process is too busy: let listeners hand their work on.`
      : undefined,
  );
  find('artifacts', storageTrouble(status));
  find(
    'alerts',
    alerts !== undefined && alerts.undelivered > 0
      ? `${alerts.undelivered} deliveries of alerts were given up. See alerts.getDeliveries() of the alerts for the errors, and look after the notifiers' receivers.`
      : undefined,
  );
  return troubles.toSorted((a, b) => Number(b.condition === 'failed') - Number(a.condition === 'failed'));
}

function staleLeases({ work, checkedAt }: UnjudgedStatus): string | undefined {
  if (work.running === 0 || work.renewedAt === undefined) return undefined;
  const ageMs = checkedAt - work.renewedAt;
  if (ageMs <= limits.statusLeaseAgeMs) return undefined;
  return `This process could not renew the leases of its work for ${seconds(ageMs)}, and stops it before others take it over. The database refuses to be written, or the process is held up: see its log.`;
}

function queueTrouble({ work }: UnjudgedStatus): string | undefined {
  const { oldestQueued, queued = 0 } = work;
  if (oldestQueued === undefined || oldestQueued.ageMs <= limits.statusQueuedMs) return undefined;
  const { kind, id, ageMs } = oldestQueued;
  return `${kind} ${id} has been ready for ${seconds(ageMs)} and nobody has started it; ${queued} items are ready. Start more processes with a role that does this kind of work.`;
}

function unwatched({ health }: UnjudgedStatus): string | undefined {
  const { shards, shardsWatched } = health;
  if (shardsWatched === undefined || shardsWatched >= shards) return undefined;
  return `${shards - shardsWatched} of ${shards} parts of the resources are watched by no process. Start a process with the role 'health'; after a start this takes up to ${seconds(limits.leaseMs)}.`;
}

function lateLooks({ health }: UnjudgedStatus): string | undefined {
  if (health.late === 0) return undefined;
  return `${health.late} of ${health.watched} resources that this process watches were not looked at within ${seconds(limits.healthIntervalMs)}. It is too busy: start another process with the role 'health'.`;
}

function overdueUpkeep({ recovery }: UnjudgedStatus): string | undefined {
  if (recovery === undefined || recovery.overdueMs <= limits.statusOverdueMs) return undefined;
  return `Upkeep has been due for ${seconds(recovery.overdueMs)}: nobody puts things right or tells of alerts. Start a process with the role 'recovery'.`;
}

function storageTrouble({ artifacts }: UnjudgedStatus): string | undefined {
  const { reachable, error, fullSince, freeBytes } = artifacts;
  if (!reachable) {
    return `The artifact storage does not answer (${error}). Look after the storage and the way to it: builds can't end and nothing can be deployed.`;
  }
  if (fullSince !== undefined) {
    return `The artifact storage has been full since ${new Date(fullSince).toISOString()}, and builds wait. Make room there, keep less (retention), or unpin builds.`;
  }
  if (freeBytes === undefined || freeBytes >= limits.statusFreeBytes) return undefined;
  return `The artifact storage has ${freeBytes} bytes left. Make room there, or keep less (retention), before builds have to wait.`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
