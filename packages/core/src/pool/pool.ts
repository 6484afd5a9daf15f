import type { Selectable } from 'kysely';
import type { CallOptions } from '../contracts/runtime.ts';
import { BringupError, notFound } from '../errors.ts';
import { pageLimit, type ListOptions } from '../model/page.ts';
import type { Changes, ResourceKind } from '../model/resource.ts';
import { newId } from '../runtime.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import type { ResourceKindModule } from './kind.ts';
import { lookAt, registrationSucceeded, type PoolOptions } from './look.ts';
import { insertResource, rewriteResource, type ResourceRecord } from './records.ts';
import { changeStatus } from './status.ts';
import { switchMaintenance } from './maintenance.ts';
import { offerToWaiting } from './reservations.ts';

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
    const { store, clock, random } = this.#options;
    const registration = this.#kind.validate(input);
    await this.#refuseTaken(this.#kind.nameOf(registration));
    const id = newId(clock, random);
    const detected = await lookAt(this.#options, this.#kind, registration, { ...options, id });
    const record = this.#record(id, registration, detected);
    const { name } = record.described;
    const row = await store.transaction(async (tx) => {
      if ((await this.#find(tx.db, name)) !== undefined) throw this.#taken(name);
      const added = await insertResource(tx, record);
      await registrationSucceeded(tx, this.#kind.kind, name, clock.now());
      await tx.emit('resource:registered', id, { id, kind: this.#kind.kind, name });
      offerToWaiting(tx, id);
      return added;
    });
    return this.#kind.view(row);
  }

  /**
   * Changes a registration. Where the change concerns more than labels, limits and the like, the resource is looked at
   * anew, and a failure leaves everything as it was.
   * @throws as {@link Pool.register}; `not-found`; `conflict` when the new name is taken.
   */
  async update(id: string, changes: Changes<Registration>, options: CallOptions = {}): Promise<View> {
    const { store, clock } = this.#options;
    const before = await this.row(id);
    const merged = merge(JSON.parse(before.registration) as object, changes);
    const registration = this.#kind.validate(merged);
    const needsLook = Object.keys(changes).some((field) => !this.#kind.quietFields.includes(field));
    const detected = needsLook
      ? await lookAt(this.#options, this.#kind, registration, { ...options, id })
      : (JSON.parse(before.detected) as unknown);
    const record = this.#record(id, registration, detected);
    const row = await store.transaction(async (tx) => {
      const { name } = record.described;
      const other = await this.#find(tx.db, name);
      if (other !== undefined && other.id !== id) throw this.#taken(name);
      await rewriteResource(tx, record, needsLook);
      await tx.emit('resource:updated', id, { id, kind: this.#kind.kind, name });
      // It answers, whatever was known before; but a board may be flashed meanwhile.
      const known = (await rowIn(tx, id)).status;
      if (needsLook && (known === 'offline' || known === 'unknown')) {
        await changeStatus(tx, id, { status: 'online', reason: 'it answered', now: clock.now() });
      }
      offerToWaiting(tx, id);
      return rowIn(tx, id);
    });
    return this.viewOf(row);
  }

  #record(id: string, registration: Registration, detected: unknown): ResourceRecord {
    const { clock, connectors } = this.#options;
    return {
      id,
      kind: this.#kind.kind,
      registration: (this.#kind.withoutSecrets?.(registration) ?? registration) as object,
      detected,
      described: this.#kind.describe(registration, detected, connectors),
      labels: this.#kind.labelsOf(registration),
      now: clock.now(),
    };
  }

  /** Looks at a resource that is not in the pool, without adding it. */
  async validate(input: Registration, options: CallOptions = {}): Promise<void> {
    const { clock, random, connectors } = this.#options;
    const registration = this.#kind.validate(input);
    const id = newId(clock, random);
    const detected = await lookAt(this.#options, this.#kind, registration, { ...options, id, quietly: true });
    this.#kind.describe(registration, detected, connectors);
  }

  /** As {@link Pool.get}, without what has to be counted: for those who only want to reach it. @throws `not-found`. */
  async stored(id: string): Promise<View> {
    return this.#kind.view(await this.row(id));
  }

  /** @throws `not-found`. */
  async get(id: string): Promise<View> {
    return this.viewOf(await this.row(id));
  }

  /** One resource by its unique name, or undefined. */
  async findByName(name: string): Promise<View | undefined> {
    const row = await this.#find(this.#options.store.db, name);
    return row && this.viewOf(row);
  }

  /** One page, ordered by id, which is the order of registration. */
  async list(options: ListOptions = {}): Promise<readonly View[]> {
    const rows = await this.#options.store.db
      .selectFrom('resources')
      .selectAll()
      .where('kind', '=', this.#kind.kind)
      .where('id', '>', options.after ?? '')
      .orderBy('id')
      .limit(pageLimit(options))
      .execute();
    return this.#views(rows);
  }

  /** A row as users see it. */
  async viewOf(row: Selectable<ResourceRow>): Promise<View> {
    const current = await this.#kind.current?.(this.#options.store.db, [row]);
    return this.#kind.view(row, current?.get(row.id));
  }

  async #views(rows: readonly Selectable<ResourceRow>[]): Promise<readonly View[]> {
    const current = rows.length === 0 ? undefined : await this.#kind.current?.(this.#options.store.db, rows);
    return rows.map((row) => this.#kind.view(row, current?.get(row.id)));
  }

  /**
   * In maintenance nothing new is allocated there; what runs goes on. `false` ends all maintenance that has begun.
   * @throws `not-found`.
   */
  async setMaintenance(id: string, on: boolean): Promise<View> {
    await this.row(id);
    await this.#options.store.transaction((tx) => switchMaintenance(tx, id, on, this.#options));
    return this.get(id);
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
    await db.deleteFrom('traits').where('resource_id', '=', id).execute();
    await db.deleteFrom('group_members').where('resource_id', '=', id).execute();
    await db.deleteFrom('resources').where('id', '=', id).execute();
  }

  /** On whose behalf capacity of a resource is held, in the order of the grants. */
  async holders(id: string): Promise<readonly string[]> {
    const rows = await this.#options.store.db
      .selectFrom('reservations')
      .select('holder')
      .where('resource_id', '=', id)
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
      throw notFound(this.#kind.title, id);
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

async function rowIn({ db }: StoreTransaction, id: string): Promise<Selectable<ResourceRow>> {
  return db.selectFrom('resources').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
}

/** What is named replaces, null takes away, the rest stays. */
function merge(before: object, changes: object): object {
  const merged = { ...before, ...changes };
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== null && value !== undefined));
}
