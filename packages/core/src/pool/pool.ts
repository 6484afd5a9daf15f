import type { Selectable } from 'kysely';
import type { CallOptions, Clock, Logger, Random } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ResourceKind } from '../model/resource.ts';
import { newId } from '../runtime.ts';
import type { ResourceRow } from '../store/schema.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { Connectors } from './connectors.ts';
import { labelTrait, type ResourceKindModule } from './kind.ts';
import { offerToWaiting, refreshOffers } from './reservations.ts';

/** What the pool is made of. */
export interface PoolOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly connectors: Connectors;
}

/** Options of a listing. */
export interface ListOptions {
  /** Go on after this id. */
  readonly after?: string;
  /** At most this many. Default and bound {@link limits.pageSize}. */
  readonly limit?: number;
}

/**
 * Which resources exist. Registration, maintenance and decommissioning are the same for every kind
 * of resource; what differs is in its {@link ResourceKindModule}.
 */
export class Pool<Registration, View> {
  readonly #options: PoolOptions;
  readonly #kind: ResourceKindModule<Registration, View>;

  constructor(options: PoolOptions, kind: ResourceKindModule<Registration, View>) {
    this.#options = options;
    this.#kind = kind;
  }

  /**
   * Proves that the resource can be reached and is what it must be, and only then adds it. A failed
   * registration leaves nothing in the pool.
   */
  async register(input: Registration, options: CallOptions = {}): Promise<View> {
    const { store, clock, random, connectors } = this.#options;
    const registration = this.#kind.validate(input);
    await this.#refuseTaken(this.#kind.nameOf(registration));
    const probed = await this.#kind.probe(registration, connectors, options);
    const id = newId(clock, random);
    const now = clock.now();
    const labels = this.#kind.labelsOf(registration);
    const row = await store.transaction(async (tx) => {
      const taken = await this.#find(tx.db, probed.name);
      if (taken !== undefined) throw this.#taken(probed.name);
      const added = await tx.db
        .insertInto('resources')
        .values({
          id,
          kind: this.#kind.kind,
          name: probed.name,
          status: 'online',
          status_reason: null,
          status_since: now,
          blocked: null,
          group_id: null,
          utilization: null,
          health: probed.health === undefined ? null : JSON.stringify(probed.health),
          good_deployment_id: null,
          maintenance: 0,
          profile: JSON.stringify(probed.profile),
          labels: JSON.stringify(labels),
          slots_total: probed.capacity.slots,
          slots_used: 0,
          cpu_total: probed.capacity.cpuCores,
          cpu_used: 0,
          memory_mb_total: probed.capacity.memoryMb,
          memory_mb_used: 0,
          storage_gb_total: probed.capacity.storageGb,
          storage_gb_used: 0,
          load: 0,
          held_rank: null,
          fence: 0,
          last_health_check: now,
          created_at: now,
          updated_at: now,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      for (const architecture of new Set(probed.architectures)) {
        await tx.db
          .insertInto('offers')
          .values({ resource_id: id, kind: this.#kind.kind, architecture, open: 1, load: 0 })
          .execute();
      }
      const traits = [...probed.traits, ...Object.entries(labels).map(([key, value]) => labelTrait(key, value))];
      for (const trait of new Set(traits)) {
        await tx.db.insertInto('traits').values({ resource_id: id, trait }).execute();
      }
      await tx.emit('resource:registered', id, { id, kind: this.#kind.kind, name: probed.name });
      offerToWaiting(tx, id);
      return added;
    });
    return this.#kind.view(row);
  }

  /** Looks at a resource that is not in the pool, without adding it. */
  async validate(input: Registration, options: CallOptions = {}): Promise<void> {
    await this.#kind.probe(this.#kind.validate(input), this.#options.connectors, options);
  }

  /** @throws `not-found`. */
  async get(id: string): Promise<View> {
    return this.#kind.view(await this.row(id));
  }

  /** One resource by its unique name, or undefined. */
  async findByName(name: string): Promise<View | undefined> {
    const row = await this.#find(this.#options.store.db, name);
    return row && this.#kind.view(row);
  }

  /** One page, ordered by id, which is the order of registration. */
  async list(options: ListOptions = {}): Promise<readonly View[]> {
    const rows = await this.#options.store.db
      .selectFrom('resources')
      .selectAll()
      .where('kind', '=', this.#kind.kind)
      .where('id', '>', options.after ?? '')
      .orderBy('id')
      .limit(Math.min(options.limit ?? limits.pageSize, limits.pageSize))
      .execute();
    return rows.map((row) => this.#kind.view(row));
  }

  /** In maintenance nothing new is allocated there; what runs goes on. @throws `not-found`. */
  async setMaintenance(id: string, on: boolean): Promise<View> {
    await this.row(id);
    const row = await this.#options.store.transaction(async (tx) => {
      const changed = await tx.db
        .updateTable('resources')
        .set({ maintenance: on ? 1 : 0, updated_at: this.#options.clock.now() })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirstOrThrow();
      await refreshOffers(tx, id);
      await tx.emit('resource:updated', id, { id, kind: this.#kind.kind, name: changed.name });
      if (!on) offerToWaiting(tx, id);
      return changed;
    });
    return this.#kind.view(row);
  }

  /**
   * Takes a resource out of the pool.
   * @throws `not-found`; `conflict` when it is in use, unless `force`.
   */
  async remove(id: string, options: { readonly force?: boolean } = {}): Promise<void> {
    const { name } = await this.row(id);
    await this.#options.store.transaction(async (tx) => {
      const held = await tx.db
        .selectFrom('reservations')
        .select(['id', 'holder'])
        .where('resource_id', '=', id)
        .where('state', '=', 'active')
        .execute();
      if (held.length > 0 && options.force !== true) {
        throw new BringupError(
          'conflict',
          `${this.#kind.title} ${name} is in use by ${held.map((r) => r.holder).join(', ')}; ` +
            'put it into maintenance and wait, or use force',
          { details: { resourceId: id, holders: held.map((r) => r.holder) } },
        );
      }
      await this.#forget(tx, id);
      await tx.emit('resource:removed', id, { id, kind: this.#kind.kind, name });
    });
  }

  async #forget({ db }: StoreTransaction, id: string): Promise<void> {
    await db.deleteFrom('reservations').where('resource_id', '=', id).execute();
    await db.deleteFrom('offers').where('resource_id', '=', id).execute();
    await db.deleteFrom('traits').where('resource_id', '=', id).execute();
    await db.deleteFrom('resources').where('id', '=', id).execute();
  }

  /** On whose behalf capacity of a resource is held, in the order of the grants. */
  async holders(id: string): Promise<readonly string[]> {
    const rows = await this.#options.store.db
      .selectFrom('reservations')
      .select('holder')
      .where('resource_id', '=', id)
      .where('state', '=', 'active')
      .orderBy('fence')
      .execute();
    return rows.map(({ holder }) => holder);
  }

  /** The stored row. @throws `not-found`. */
  async row(id: string): Promise<Selectable<ResourceRow>> {
    const row = await this.#options.store.db
      .selectFrom('resources')
      .selectAll()
      .where('id', '=', id)
      .where('kind', '=', this.#kind.kind)
      .executeTakeFirst();
    if (row === undefined) {
      throw new BringupError('not-found', `there is no ${this.#kind.title} ${id}`, { details: { id } });
    }
    return row;
  }

  async #find(db: Pick<Store['db'], 'selectFrom'>, name: string): Promise<Selectable<ResourceRow> | undefined> {
    return db
      .selectFrom('resources')
      .selectAll()
      .where('kind', '=', this.#kind.kind)
      .where('name', '=', name)
      .executeTakeFirst();
  }

  async #refuseTaken(name: string): Promise<void> {
    if ((await this.#find(this.#options.store.db, name)) !== undefined) throw this.#taken(name);
  }

  #taken(name: string): BringupError {
    return new BringupError('conflict', `a ${this.#kind.title} named ${name} is registered already`, {
      details: { kind: this.#kind.kind satisfies ResourceKind, name },
    });
  }
}
