import type { Selectable } from 'kysely';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError, invalidInput, notFound } from '../errors.ts';
import { limits } from '../limits.ts';
import type { MaintenanceRequest, MaintenanceWindow } from '../model/maintenance.ts';
import { pageLimit, type ListOptions } from '../model/page.ts';
import type { ResourceKind } from '../model/resource.ts';
import { newId } from '../runtime.ts';
import type { MaintenanceWindowRow, ResourceRow } from '../store/schema/pool.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { offerToWaiting } from './reservations.ts';

/** Options of {@link MaintenanceService.list}, in the order of ids. */
export interface MaintenanceListOptions extends ListOptions {
  readonly resourceId?: string;
  readonly kind?: ResourceKind;
  /** Default: those that are scheduled or active. */
  readonly states?: readonly MaintenanceWindow['state'][];
}

/**
 * Maintenance of resources of any kind: now and until further notice, or at a time that is set. In it
 * nothing new is allocated there; what runs goes on. A resource is in maintenance while any of its
 * windows is active, so that the end of one does not end another.
 */
export class MaintenanceService {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: { readonly store: Store; readonly clock: Clock; readonly random: Random }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /**
   * Schedules a window for each of the resources; one that has begun already is active at once.
   * @throws `invalid-input` with one issue per field; `not-found` for a resource or group that is not there.
   */
  async schedule(request: MaintenanceRequest): Promise<readonly MaintenanceWindow[]> {
    const now = this.#clock.now();
    check(request, now);
    const { startsAt, endsAt, reason = '' } = request;
    const ids = await this.#store.transaction(async (tx) => {
      const added: string[] = [];
      for (const resourceId of await targets(tx, request)) {
        const id = newId(this.#clock, this.#random);
        await tx.db
          .insertInto('maintenance_windows')
          .values({ id, resource_id: resourceId, starts_at: startsAt, ends_at: endsAt, reason, state: 'scheduled' })
          .execute();
        added.push(id);
      }
      await turnDue(tx, now);
      return added;
    });
    return Promise.all(ids.map((id) => this.get(id)));
  }

  /** Ends a window that is active, and cancels one that has not begun. @throws `not-found`; `conflict` when it is over. */
  async cancel(id: string): Promise<MaintenanceWindow> {
    const { state, resourceId, name } = await this.get(id);
    if (state !== 'scheduled' && state !== 'active') {
      throw new BringupError('conflict', `the maintenance ${id} of ${name} is over`, { details: { id, state } });
    }
    const now = this.#clock.now();
    await this.#store.transaction(async (tx) => {
      await end(tx, [id], state === 'active' ? 'ended' : 'cancelled', now);
      await refreshMaintenance(tx, resourceId, now);
    });
    return this.get(id);
  }

  /** @throws `not-found`. */
  async get(id: string): Promise<MaintenanceWindow> {
    const row = await this.#windows().where('maintenance_windows.id', '=', id).executeTakeFirst();
    if (row === undefined) throw notFound('maintenance', id);
    return toWindow(row);
  }

  /** One page of windows. */
  async list(options: MaintenanceListOptions = {}): Promise<readonly MaintenanceWindow[]> {
    const { resourceId, kind, states = ['scheduled', 'active'], after = '' } = options;
    let query = this.#windows().where('state', 'in', states).where('maintenance_windows.id', '>', after);
    if (resourceId !== undefined) query = query.where('resource_id', '=', resourceId);
    if (kind !== undefined) query = query.where('kind', '=', kind);
    const rows = await query.orderBy('maintenance_windows.id').limit(pageLimit(options)).execute();
    return rows.map(toWindow);
  }

  /** Begins and ends what is due. Called now and then; a window that a lab slept through is only put down as ended. */
  async tend(): Promise<void> {
    const now = this.#clock.now();
    if ((await due(this.#store.db, now).executeTakeFirst()) === undefined) return;
    await this.#store.transaction((tx) => turnDue(tx, now));
  }

  #windows() {
    return this.#store.db
      .selectFrom('maintenance_windows')
      .innerJoin('resources', 'resources.id', 'maintenance_windows.resource_id')
      .selectAll('maintenance_windows')
      .select(['resources.kind', 'resources.name', 'slots_total', 'cpu_total', 'memory_mb_total', 'storage_gb_total']);
  }
}

/** Puts a resource into maintenance until further notice, or ends all its maintenance that has begun. */
export async function switchMaintenance(
  tx: StoreTransaction,
  resourceId: string,
  on: boolean,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<void> {
  const now = clock.now();
  const active = await tx.db
    .selectFrom('maintenance_windows')
    .select(['id', 'ends_at'])
    .where('resource_id', '=', resourceId)
    .where('state', '=', 'active')
    .execute();
  if (!on) {
    await end(
      tx,
      active.map(({ id }) => id),
      'ended',
      now,
    );
  } else if (active.every((window) => window.ends_at !== null)) {
    await tx.db
      .insertInto('maintenance_windows')
      .values({
        id: newId(clock, random),
        resource_id: resourceId,
        starts_at: now,
        ends_at: null,
        reason: '',
        state: 'active',
      })
      .execute();
  }
  await refreshMaintenance(tx, resourceId, now);
}

/** Brings the resource in line with its windows, and tells when that changes anything. */
async function refreshMaintenance(tx: StoreTransaction, resourceId: string, now: number): Promise<void> {
  const active = await tx.db
    .selectFrom('maintenance_windows')
    .select('id')
    .where('resource_id', '=', resourceId)
    .where('state', '=', 'active')
    .limit(1)
    .executeTakeFirst();
  const maintenance = active === undefined ? 0 : 1;
  const changed = await tx.db
    .updateTable('resources')
    .set({ maintenance, updated_at: now })
    .where('id', '=', resourceId)
    .where('maintenance', '!=', maintenance)
    .returning(['kind', 'name'])
    .executeTakeFirst();
  if (changed === undefined) return;
  const kind = changed.kind as ResourceKind;
  await tx.emit('resource:maintenance', resourceId, {
    id: resourceId,
    kind,
    name: changed.name,
    on: maintenance === 1,
  });
  if (maintenance === 0) offerToWaiting(tx, resourceId);
}

function due(db: Pick<Store['db'], 'selectFrom'>, now: number) {
  return db
    .selectFrom('maintenance_windows')
    .select(['id', 'resource_id', 'ends_at', 'state'])
    .where((eb) =>
      eb.or([
        eb.and([eb('state', '=', 'scheduled'), eb('starts_at', '<=', now)]),
        eb.and([eb('state', '=', 'active'), eb('ends_at', '<=', now)]),
      ]),
    )
    .limit(limits.pageSize);
}

async function turnDue(tx: StoreTransaction, now: number): Promise<void> {
  const windows = await due(tx.db, now).execute();
  const over = windows.filter(({ ends_at }) => ends_at !== null && ends_at <= now);
  await end(
    tx,
    over.map(({ id }) => id),
    'ended',
    now,
  );
  const begun = windows.filter((window) => !over.includes(window)).map(({ id }) => id);
  if (begun.length > 0) {
    await tx.db.updateTable('maintenance_windows').set({ state: 'active' }).where('id', 'in', begun).execute();
  }
  for (const id of new Set(windows.map(({ resource_id }) => resource_id))) await refreshMaintenance(tx, id, now);
}

async function end(
  { db }: StoreTransaction,
  ids: readonly string[],
  state: 'ended' | 'cancelled',
  now: number,
): Promise<void> {
  if (ids.length === 0) return;
  await db.updateTable('maintenance_windows').set({ state, ends_at: now }).where('id', 'in', ids).execute();
}

async function targets({ db }: StoreTransaction, request: MaintenanceRequest): Promise<readonly string[]> {
  const wanted = new Set(request.resourceIds ?? []);
  if (request.groupId !== undefined) {
    const group = await db.selectFrom('groups').select('id').where('id', '=', request.groupId).executeTakeFirst();
    if (group === undefined) {
      throw notFound('group', request.groupId);
    }
    const members = await db
      .selectFrom('group_members')
      .select('resource_id')
      .where('group_id', '=', request.groupId)
      .execute();
    for (const { resource_id } of members) wanted.add(resource_id);
  }
  const ids = [...wanted];
  const found = ids.length === 0 ? [] : await db.selectFrom('resources').select('id').where('id', 'in', ids).execute();
  const missing = ids.filter((id) => !found.some((row) => row.id === id));
  if (missing.length > 0) {
    throw new BringupError('not-found', `there is no resource ${missing.join(', ')}`, { details: { ids: missing } });
  }
  return ids;
}

function check({ resourceIds = [], groupId, startsAt, endsAt }: MaintenanceRequest, now: number): void {
  const issues = [
    ...(resourceIds.length === 0 && groupId === undefined
      ? [{ path: 'resourceIds', message: 'name at least one resource, or a group' }]
      : []),
    ...(Number.isFinite(startsAt) ? [] : [{ path: 'startsAt', message: 'must be milliseconds since the Unix epoch' }]),
    ...(Number.isFinite(endsAt) && endsAt > startsAt ? [] : [{ path: 'endsAt', message: 'must be after startsAt' }]),
    ...(endsAt <= now ? [{ path: 'endsAt', message: 'must not have passed' }] : []),
  ];
  if (issues.length > 0) throw invalidInput('the maintenance', issues);
}

type WindowRow = Selectable<MaintenanceWindowRow> &
  Pick<Selectable<ResourceRow>, 'kind' | 'name' | 'slots_total' | 'cpu_total' | 'memory_mb_total' | 'storage_gb_total'>;

function toWindow(row: WindowRow): MaintenanceWindow {
  return {
    id: row.id,
    resourceId: row.resource_id,
    kind: row.kind as ResourceKind,
    name: row.name,
    startsAt: row.starts_at,
    ...(row.ends_at !== null && { endsAt: row.ends_at }),
    reason: row.reason,
    state: row.state as MaintenanceWindow['state'],
    capacity: {
      slots: row.slots_total,
      cpuCores: row.cpu_total,
      memoryMb: row.memory_mb_total,
      storageGb: row.storage_gb_total,
    },
  };
}
