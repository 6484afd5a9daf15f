import type { Clock, Logger } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import { SharedChore } from '../store/chores.ts';
import type { Store } from '../store/store.ts';
import type { ArtifactRepository } from './repository.ts';
import { cleanupChore } from './room.ts';

const scrubChore = 'artifact-scrub';
const hourMs = 3_600_000;

/** What the housekeeper is made of. */
export interface HousekeeperOptions {
  readonly artifacts: ArtifactRepository;
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Stored bytes that are read again and verified each day. Default: none. */
  readonly scrubBytesPerDay?: number;
}

/**
 * Cleans up artifacts once an hour and as soon as the storage is full, verifies stored bytes in turn,
 * and lets builds go on when a full storage has room again. Of all processes one does it each time.
 */
export class ArtifactHousekeeper implements AsyncDisposable {
  readonly #options: HousekeeperOptions;
  readonly #ending = new AbortController();
  readonly #full: Disposable;
  readonly #cleanup: SharedChore;
  readonly #scrubbing: SharedChore;
  #timer: Disposable | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(options: HousekeeperOptions) {
    this.#options = options;
    const { store, clock } = options;
    this.#cleanup = new SharedChore({ store, clock, name: cleanupChore, periodMs: limits.artifactCleanupMs });
    this.#scrubbing = new SharedChore({ store, clock, name: scrubChore, periodMs: hourMs });
    this.#full = options.artifacts.room.onFull(() => this.#turn());
    this.#rest();
  }

  #rest(): void {
    if (this.#ending.signal.aborted) return;
    this.#timer?.[Symbol.dispose]();
    this.#timer = this.#options.clock.timer(limits.artifactWatchMs, () => this.#turn(), { background: true });
  }

  #turn(): void {
    this.#working = this.#working
      .then(() => (this.#ending.signal.aborted ? undefined : this.#work()))
      .catch((error: unknown) => {
        if (!this.#ending.signal.aborted) this.#options.logger.warn({ error }, 'artifacts could not be looked after');
      })
      .then(() => this.#rest());
  }

  async #work(): Promise<void> {
    const { artifacts, logger } = this.#options;
    const { signal } = this.#ending;
    if (await this.#cleanup.take()) {
      const report = await artifacts.cleanupOldArtifacts({ signal });
      if (report.freedBytes > 0) logger.info({ report }, 'old artifacts were removed');
    }
    await artifacts.room.look();
    await this.#scrub(signal);
  }

  async #scrub(signal: AbortSignal): Promise<void> {
    const { artifacts, scrubBytesPerDay = 0 } = this.#options;
    if (scrubBytesPerDay === 0) return;
    if (!(await this.#scrubbing.take())) return;
    await artifacts.scrub(scrubBytesPerDay / 24, { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    this.#full[Symbol.dispose]();
    this.#timer?.[Symbol.dispose]();
    await this.#working;
  }
}
