import type { Selectable } from 'kysely';
import type { ResourceKind } from '../model/resource.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { StoreTransaction } from '../store/store.ts';
import { labelTrait, type Described } from './kind.ts';

/** What is written of a resource. */
export interface ResourceRecord {
  readonly id: string;
  readonly kind: ResourceKind;
  readonly registration: object;
  readonly detected: unknown;
  readonly described: Described<object>;
  readonly labels: Readonly<Record<string, string>>;
  readonly now: number;
}

/** Adds a resource: online, idle, in no group. */
export async function insertResource(tx: StoreTransaction, record: ResourceRecord): Promise<Selectable<ResourceRow>> {
  const { id, kind, described, now } = record;
  const { capacity } = described;
  const architectures = await architectureSet(tx, described);
  const row = await tx.db
    .insertInto('resources')
    .values({
      id,
      kind,
      name: described.name,
      status: 'online',
      status_reason: null,
      status_since: now,
      blocked: null,
      architectures,
      group_id: null,
      utilization: null,
      health: described.health === undefined ? null : JSON.stringify(described.health),
      good_deployment_id: null,
      maintenance: 0,
      registration: JSON.stringify(record.registration),
      detected: JSON.stringify(record.detected),
      profile: JSON.stringify(described.profile),
      labels: JSON.stringify(record.labels),
      slots_total: capacity.slots,
      slots_used: 0,
      cpu_total: capacity.cpuCores,
      cpu_used: 0,
      memory_mb_total: capacity.memoryMb,
      memory_mb_used: 0,
      storage_gb_total: capacity.storageGb,
      storage_gb_used: 0,
      held_rank: null,
      fence: 0,
      last_health_check: now,
      created_at: now,
      updated_at: now,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await rewriteTraits(tx, record);
  return row;
}

/**
 * Writes what a resource has become. What is reserved of it, its health and its group stay.
 * @param looked - whether `detected` is of now; otherwise only what does not come from a look is written.
 */
export async function rewriteResource(tx: StoreTransaction, record: ResourceRecord, looked: boolean): Promise<void> {
  const { id, described, now } = record;
  const { capacity } = described;
  const architectures = await architectureSet(tx, described);
  await tx.db
    .updateTable('resources')
    .set({
      name: described.name,
      registration: JSON.stringify(record.registration),
      profile: JSON.stringify(described.profile),
      labels: JSON.stringify(record.labels),
      architectures,
      slots_total: capacity.slots,
      updated_at: now,
      ...(looked && {
        detected: JSON.stringify(record.detected),
        cpu_total: capacity.cpuCores,
        memory_mb_total: capacity.memoryMb,
        storage_gb_total: capacity.storageGb,
        last_health_check: now,
        ...(described.health !== undefined && { health: JSON.stringify(described.health) }),
      }),
    })
    .where('id', '=', id)
    .execute();
  await rewriteTraits(tx, record);
}

/** The name of a resource's set of architectures, which is then known. */
async function architectureSet({ db }: StoreTransaction, described: Described<object>): Promise<string> {
  const sorted = [...new Set(described.architectures)].toSorted();
  const architectures = sorted.join();
  for (const architecture of sorted) {
    await db
      .insertInto('architecture_sets')
      .values({ architecture, architectures })
      .onConflict((conflict) => conflict.doNothing())
      .execute();
  }
  return architectures;
}

async function rewriteTraits({ db }: StoreTransaction, { id, described, labels }: ResourceRecord): Promise<void> {
  // Those of its groups are the groups' business, that of its firmware is learned when it is flashed.
  await db
    .deleteFrom('traits')
    .where('resource_id', '=', id)
    .where('trait', 'not like', 'group:%')
    .where('trait', 'not like', 'firmware:%')
    .execute();
  const ofLabels = Object.entries(labels).map(([key, value]) => labelTrait(key, value));
  for (const trait of new Set([...described.traits, ...ofLabels])) {
    await db.insertInto('traits').values({ resource_id: id, trait }).execute();
  }
}
