import type { Clock, Random } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { newId } from '../runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { FarTimes } from '../store/far-times.ts';
import { formatOwner, isKnownDead, thisProcess, type ProcessIdentity } from '../work/owner.ts';

/** Tells whether a resource is one that the process may write about. */
export type MayWrite = (resourceId: string) => boolean;

/** Finds out, in a transaction, what the process may write about. */
export type Guard = (tx: StoreTransaction) => Promise<MayWrite>;

/** What a process has of the shards now. */
export interface ShardsTaken {
  readonly held: ReadonlySet<number>;
  /** Those of `held` that it did not have before. */
  readonly added: ReadonlySet<number>;
  /** More than its share: to be given back with {@link Shards.release} as soon as what was seen is stored. */
  readonly surplus: ReadonlySet<number>;
}

/** The shard that a resource is in: FNV-1a of its id, the same in every process. */
export function shardOf(resourceId: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < resourceId.length; index += 1) {
    hash = Math.imul(hash ^ resourceId.charCodeAt(index), 0x01_00_01_93);
  }
  return (hash >>> 0) % limits.healthShards;
}

/**
 * Divides the resources between the processes that watch. Each shard is leased to one process at a time; a
 * process that ends or is no longer heard of loses its shards, and one that comes is given its share.
 */
export class Shards {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #self: ProcessIdentity = thisProcess();
  readonly #owner: string;
  /** Of the processes' leases on shards, and on being counted. */
  readonly #far: { readonly shards: FarTimes; readonly watchers: FarTimes };
  #held: ReadonlySet<number> = new Set();

  constructor(store: Store, clock: Clock, random: Random) {
    this.#store = store;
    this.#clock = clock;
    this.#far = { shards: new FarTimes(clock), watchers: new FarTimes(clock) };
    this.#owner = formatOwner(this.#self, newId(clock, random));
  }

  /** How many this process has. */
  get size(): number {
    return this.#held.size;
  }

  /** Renews what this process has and takes what is free, up to its share. */
  async take(): Promise<ShardsTaken> {
    const now = this.#clock.now();
    const before = this.#held;
    const taken = await this.#store.transaction(async (tx) => {
      const share = Math.ceil(limits.healthShards / (await this.#countWatchers(tx, now)));
      const rows = await tx.db.selectFrom('monitor_leases').selectAll().execute();
      const leases = new Map(rows.map((lease) => [lease.shard, lease]));
      const gone = new Set(this.#gone(rows, ({ shard }) => String(shard), this.#far.shards, now));
      const all = Array.from({ length: limits.healthShards }, (_, shard) => shard);
      const isMine = (shard: number): boolean => leases.get(shard)?.owner === this.#owner;
      const isFree = (shard: number): boolean => {
        const lease = leases.get(shard);
        return lease === undefined || gone.has(lease);
      };
      const mine = all.filter(isMine);
      const free = all.filter((shard) => !isMine(shard) && isFree(shard));
      const held = [...mine, ...free.slice(0, Math.max(0, share - mine.length))];
      const lease = { owner: this.#owner, lease_until: now + limits.leaseMs };
      for (const shard of held) {
        await tx.db
          .insertInto('monitor_leases')
          .values({ shard, ...lease })
          .onConflict((conflict) => conflict.column('shard').doUpdateSet(lease))
          .execute();
      }
      return { held, surplus: held.slice(share) };
    });
    this.#held = new Set(taken.held);
    return {
      held: this.#held,
      added: new Set(taken.held.filter((shard) => !before.has(shard))),
      surplus: new Set(taken.surplus),
    };
  }

  /** What this process may write about, as of this transaction. */
  async guard({ db }: StoreTransaction): Promise<MayWrite> {
    const rows = await db.selectFrom('monitor_leases').select('shard').where('owner', '=', this.#owner).execute();
    const mine = new Set(rows.map(({ shard }) => shard));
    return (resourceId) => mine.has(shardOf(resourceId));
  }

  /** Lets other processes have these at once. */
  async release(shards: ReadonlySet<number>): Promise<void> {
    if (shards.size === 0) return;
    await this.#store.transaction(async ({ db }) => {
      await db
        .deleteFrom('monitor_leases')
        .where('shard', 'in', [...shards])
        .where('owner', '=', this.#owner)
        .execute();
    });
    this.#held = new Set([...this.#held].filter((shard) => !shards.has(shard)));
  }

  /** Lets other processes have everything at once, and be the fewer to share it. */
  async leave(): Promise<void> {
    this.#held = new Set();
    await this.#store.transaction(async ({ db }) => {
      await db.deleteFrom('monitor_leases').where('owner', '=', this.#owner).execute();
      await db.deleteFrom('monitors').where('owner', '=', this.#owner).execute();
    });
  }

  /** Says that this process watches, forgets those that don't any more, and counts. */
  async #countWatchers({ db }: StoreTransaction, now: number): Promise<number> {
    const lease = { lease_until: now + limits.leaseMs };
    await db
      .insertInto('monitors')
      .values({ owner: this.#owner, ...lease })
      .onConflict((conflict) => conflict.column('owner').doUpdateSet(lease))
      .execute();
    const watchers = await db.selectFrom('monitors').selectAll().execute();
    const gone = this.#gone(watchers, ({ owner }) => owner, this.#far.watchers, now).map(({ owner }) => owner);
    if (gone.length > 0) await db.deleteFrom('monitors').where('owner', 'in', gone).execute();
    return watchers.length - gone.length;
  }

  /** Those whose process has ended, or is not heard of any more. */
  #gone<T extends { readonly owner: string; readonly lease_until: number }>(
    leases: readonly T[],
    keyOf: (lease: T) => string,
    far: FarTimes,
    now: number,
  ): T[] {
    const others = leases.filter(({ owner }) => owner !== this.#owner);
    const beyond = others.filter(({ lease_until }) => lease_until > now + limits.leaseMs + limits.clockMarginMs);
    const times = beyond.map((lease) => ({
      key: keyOf(lease),
      at: lease.lease_until,
      lengthMs: limits.leaseMs,
      lease,
    }));
    const passed = new Set(far.passed(times).map(({ lease }) => lease));
    return others.filter(
      (lease) => lease.lease_until <= now || passed.has(lease) || isKnownDead(lease.owner, this.#self),
    );
  }
}
