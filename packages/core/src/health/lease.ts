import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { newId } from '../runtime.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { formatOwner, isKnownDead, thisProcess, type ProcessIdentity } from '../work/owner.ts';

const leaseName = 'health';

/** Which process watches the resources: one at a time. */
export class MonitorLease {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #self: ProcessIdentity = thisProcess();
  readonly #owner: string;

  constructor(store: Store, clock: Clock, random: Random) {
    this.#store = store;
    this.#clock = clock;
    this.#owner = formatOwner(this.#self, newId(clock, random));
  }

  /** Takes the lease, or keeps it; false while another process has it. */
  async take(): Promise<boolean> {
    const now = this.#clock.now();
    return this.#store.transaction(async ({ db }) => {
      const held = await db.selectFrom('monitor_leases').selectAll().where('name', '=', leaseName).executeTakeFirst();
      const isFree =
        held === undefined ||
        held.owner === this.#owner ||
        held.lease_until <= now ||
        isKnownDead(held.owner, this.#self);
      if (!isFree) return false;
      const lease = { owner: this.#owner, lease_until: now + limits.leaseMs };
      await db
        .insertInto('monitor_leases')
        .values({ name: leaseName, ...lease })
        .onConflict((conflict) => conflict.column('name').doUpdateSet(lease))
        .execute();
      return true;
    });
  }

  /** Makes sure in a transaction that what it writes is the watching process's. @throws `lease-lost`. */
  async check({ db }: StoreTransaction): Promise<void> {
    const held = await db.selectFrom('monitor_leases').select('owner').where('name', '=', leaseName).executeTakeFirst();
    if (held?.owner !== this.#owner) throw new BringupError('lease-lost', 'another process watches the resources now');
  }

  /** Lets another process watch at once. */
  async release(): Promise<void> {
    await this.#store.transaction(async ({ db }) => {
      await db.deleteFrom('monitor_leases').where('name', '=', leaseName).where('owner', '=', this.#owner).execute();
    });
  }
}
