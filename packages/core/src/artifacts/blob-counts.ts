import type { Store } from '../store/store.ts';

/** How many artifacts have which bytes, as if some builds were gone already. */
export class BlobCounts {
  readonly #store: Store;
  readonly #left = new Map<string, number>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Bytes of all artifacts, shared ones once. */
  async totalBytes(): Promise<number> {
    const row = await this.#store.db
      .selectFrom('blobs')
      .select((eb) => eb.fn.sum<number | string | null>('size_bytes').as('bytes'))
      .where((eb) =>
        eb.exists(eb.selectFrom('artifacts').select('artifacts.id').whereRef('artifacts.sha256', '=', 'blobs.sha256')),
      )
      .executeTakeFirst();
    return Number(row?.bytes ?? 0);
  }

  /** What the removal of a build would free, after those that were asked for before. */
  async without(buildId: string): Promise<{ artifacts: number; freedBytes: number }> {
    const files = await this.#store.db
      .selectFrom('artifacts')
      .select(['sha256', 'size_bytes'])
      .where('id', 'in', (eb) => {
        const ids = eb.selectFrom('artifacts').select('id');
        return ids.where('producer_id', '=', buildId).union(ids.where('build_id', '=', buildId));
      })
      .execute();
    let freedBytes = 0;
    for (const { sha256, size_bytes } of files) {
      const left = (this.#left.get(sha256) ?? (await this.#count(sha256))) - 1;
      this.#left.set(sha256, left);
      if (left === 0) freedBytes += size_bytes;
    }
    return { artifacts: files.length, freedBytes };
  }

  async #count(sha256: string): Promise<number> {
    const row = await this.#store.db
      .selectFrom('artifacts')
      .select((eb) => eb.fn.countAll<number | string>().as('count'))
      .where('sha256', '=', sha256)
      .executeTakeFirst();
    return Number(row?.count ?? 0);
  }
}
