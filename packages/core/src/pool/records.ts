import type { Selectable } from 'kysely';
import type { ResourceKind } from '../model/resource.ts';
import type { ResourceRow } from '../store/schema.ts';
import type { StoreTransaction } from '../store/store.ts';
import { labelTrait, type Described } from './kind.ts';
import { refreshOffers } from './reservations.ts';

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
  await insertOffers(tx, record);
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
  await tx.db
    .updateTable('resources')
    .set({
      name: described.name,
      registration: JSON.stringify(record.registration),
      profile: JSON.stringify(described.profile),
      labels: JSON.stringify(record.labels),
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
  await tx.db.deleteFrom('offers').where('resource_id', '=', id).execute();
  await insertOffers(tx, record);
  await refreshOffers(tx, id);
}

async function insertOffers({ db }: StoreTransaction, { id, kind, described }: ResourceRecord): Promise<void> {
  for (const architecture of new Set(described.architectures)) {
    await db.insertInto('offers').values({ resource_id: id, kind, architecture, open: 1, load: 0 }).execute();
  }
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
