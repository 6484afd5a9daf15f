import type { Selectable } from 'kysely';
import { limits } from '../limits.ts';
import type { ResourceUtilization } from '../model/health.ts';
import type { BuildServerCapacity, HostCapacity } from '../model/resource.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Store } from '../store/store.ts';
import { allocatable, type StoredStatus } from './status.ts';

type Db = Pick<Store['db'], 'selectFrom'>;

/** Whether, at this moment, anything new may be allocated there, room aside. */
function accepts(row: Selectable<ResourceRow>): boolean {
  return row.maintenance === 0 && row.blocked === null && allocatable.includes(row.status as StoredStatus);
}

/** What a build server has to give. Builds share its cores, so what is idle is what was measured. */
export async function buildServerCapacity(
  db: Db,
  row: Selectable<ResourceRow>,
  queueDepth: number,
  now: number,
): Promise<BuildServerCapacity> {
  const { cpuPercent = 0, memoryPercent = 0 } =
    row.utilization === null ? {} : (JSON.parse(row.utilization) as Partial<ResourceUtilization>);
  const idle = (total: number, busyPercent: number): number => Math.floor(total * (1 - busyPercent / 100));
  return {
    availableCpuCores: idle(row.cpu_total, cpuPercent),
    availableMemoryMb: idle(row.memory_mb_total, memoryPercent),
    availableStorageGb: row.storage_gb_total - row.storage_gb_used,
    canAcceptBuild: accepts(row) && row.slots_used < row.slots_total,
    estimatedQueueTimeSeconds: await queueSeconds(db, row, queueDepth, now),
  };
}

/** How long builds took on a server, as learned; undefined before the first one succeeded. */
export async function averageBuildSeconds(db: Db, serverId: string): Promise<number | undefined> {
  const times = await db
    .selectFrom('build_times')
    .select(['mean_seconds', 'builds'])
    .where('server_id', '=', serverId)
    .execute();
  const builds = times.reduce((sum, time) => sum + time.builds, 0);
  return builds === 0 ? undefined : times.reduce((sum, time) => sum + time.mean_seconds * time.builds, 0) / builds;
}

/** Plays the queue through: each slot becomes free when its build is expected to end. */
async function queueSeconds(db: Db, row: Selectable<ResourceRow>, queueDepth: number, now: number): Promise<number> {
  if (row.slots_used < row.slots_total && queueDepth === 0) return 0;
  const usual = (await averageBuildSeconds(db, row.id)) ?? limits.buildTimeGuessSeconds;
  const held = await db
    .selectFrom('reservations')
    .select(['created_at', 'slots'])
    .where('resource_id', '=', row.id)
    .execute();
  const busy = held.flatMap(({ created_at, slots }) =>
    Array.from({ length: slots }, () => Math.max(0, usual - (now - created_at) / 1000)),
  );
  const free = Array.from({ length: Math.max(0, row.slots_total - busy.length) }, () => 0);
  const slots = [...free, ...busy].sort((a, b) => a - b);
  for (let ahead = 0; ahead < queueDepth; ahead += 1) {
    const [soonest = 0] = slots;
    slots[0] = soonest + usual;
    slots.sort((a, b) => a - b);
  }
  return Math.ceil(slots[0] ?? 0);
}

/** What a host has to give: what is not reserved. */
export function hostCapacity(row: Selectable<ResourceRow>): HostCapacity {
  const cpus = row.cpu_total - row.cpu_used;
  const memoryMb = row.memory_mb_total - row.memory_mb_used;
  const canAllocateVm = accepts(row) && row.slots_used < row.slots_total && cpus > 0 && memoryMb > 0;
  return {
    availableCpuCores: cpus,
    availableMemoryMb: memoryMb,
    availableStorageGb: row.storage_gb_total - row.storage_gb_used,
    canAllocateVm,
    maxVmCpu: canAllocateVm ? cpus : 0,
    maxVmMemoryMb: canAllocateVm ? memoryMb : 0,
  };
}
