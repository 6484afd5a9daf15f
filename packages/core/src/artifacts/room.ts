import { elapsedSince } from '../async.ts';
import type { ArtifactStorage } from '../contracts/artifact-storage.ts';
import type { Clock } from '../contracts/runtime.ts';
import { isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { makeDueIn } from '../store/chores.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { wake } from '../work/queue.ts';

/** What waiting work is woken by when the artifact storage has room again. */
export const storageTopic = 'storage:room';

/** The chore that cleans up artifacts. */
export const cleanupChore = 'artifact-cleanup';

const condition = 'storage-full';

/** What is known of a full storage. */
export interface FullStorage {
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  /** What was free then, where that can be known. */
  readonly freeBytes?: number;
  /** Size of the largest artifact that did not fit, where that is known. */
  readonly neededBytes?: number;
}

/**
 * Whether the artifact storage has room. Once it was found full, that is told, a clean-up is due, and
 * builds wait; until there is room for what did not fit, or, where nobody can tell, for a while.
 */
export class StorageRoom {
  readonly #store: Store;
  readonly #storage: ArtifactStorage;
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  /** How long it has been full, as far as this process can tell. */
  #seen: { readonly since: number; readonly elapsed: () => number } | undefined;

  constructor(options: { store: Store; storage: ArtifactStorage; clock: Clock }) {
    this.#store = options.store;
    this.#storage = options.storage;
    this.#clock = options.clock;
  }

  /** Stores something; that it did not fit is noted. */
  async watch<T>(put: () => Promise<T>, neededBytes?: number): Promise<T> {
    try {
      return await put();
    } catch (error) {
      if (isBringupError(error, 'storage-full')) await this.#note(neededBytes);
      throw error;
    }
  }

  /** Calls `listener` when this process found the storage full. */
  onFull(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) };
  }

  /** Undefined while there is room, as far as is known. */
  async full(): Promise<FullStorage | undefined> {
    const row = await this.#store.db
      .selectFrom('conditions')
      .selectAll()
      .where('name', '=', condition)
      .executeTakeFirst();
    return row && { ...(JSON.parse(row.details) as Omit<FullStorage, 'since'>), since: row.since };
  }

  /** The same as part of a transaction. */
  async isFullIn({ db }: StoreTransaction): Promise<boolean> {
    const row = await db.selectFrom('conditions').select('name').where('name', '=', condition).executeTakeFirst();
    return row !== undefined;
  }

  /** Lets builds go on if a full storage has room again. */
  async look(): Promise<void> {
    const full = await this.full();
    if (full === undefined) return;
    if (this.#seen?.since !== full.since) {
      this.#seen = { since: full.since, elapsed: elapsedSince(this.#clock, full.since) };
    }
    const elapsedMs = this.#seen.elapsed();
    const freeBytes = await this.#free();
    const enough =
      freeBytes === undefined
        ? elapsedMs >= limits.storageRetryMs
        : freeBytes >= (full.neededBytes ?? (full.freeBytes ?? 0) + 1);
    if (!enough) return;
    await this.#store.transaction(async (tx) => {
      const ended = await tx.db
        .deleteFrom('conditions')
        .where('name', '=', condition)
        .where('since', '=', full.since)
        .returning('name')
        .executeTakeFirst();
      if (ended === undefined) return;
      await tx.emit('storage:room', '', { ...(freeBytes !== undefined && { freeBytes }) });
      await wake(tx, storageTopic, Number.MAX_SAFE_INTEGER);
    });
  }

  async #note(neededBytes: number | undefined): Promise<void> {
    const freeBytes = await this.#free();
    const found = { ...(freeBytes !== undefined && { freeBytes }), ...(neededBytes !== undefined && { neededBytes }) };
    const isNews = await this.#store.transaction(async (tx) => {
      const known = await tx.db
        .selectFrom('conditions')
        .select('details')
        .where('name', '=', condition)
        .executeTakeFirst();
      if (known !== undefined) {
        const details = largest(JSON.parse(known.details) as Omit<FullStorage, 'since'>, found);
        await tx.db
          .updateTable('conditions')
          .set({ details: JSON.stringify(details) })
          .where('name', '=', condition)
          .execute();
        return false;
      }
      const now = this.#clock.now();
      await tx.db
        .insertInto('conditions')
        .values({ name: condition, since: now, details: JSON.stringify(found) })
        .execute();
      await tx.emit('storage:full', '', found);
      await makeDueIn(tx, cleanupChore, now);
      return true;
    });
    if (isNews) for (const listener of [...this.#listeners]) listener();
  }

  async #free(): Promise<number | undefined> {
    return this.#storage.freeBytes().catch(() => undefined);
  }
}

function largest(known: Omit<FullStorage, 'since'>, found: Omit<FullStorage, 'since'>): Omit<FullStorage, 'since'> {
  const neededBytes = Math.max(known.neededBytes ?? 0, found.neededBytes ?? 0);
  return { ...known, ...(neededBytes > 0 && { neededBytes }) };
}
