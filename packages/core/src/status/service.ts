import { withDeadline } from '../async.ts';
import type { ArtifactStorage } from '../contracts/artifact-storage.ts';
import type { Clock } from '../contracts/runtime.ts';
import { toBringupError } from '../errors.ts';
import type { Monitor } from '../health/monitor.ts';
import { limits } from '../limits.ts';
import type { LabStatus } from '../model/lab-status.ts';
import type { Role } from '../model/role.ts';
import type { EventFeed } from '../store/feed.ts';
import type { Store } from '../store/store.ts';
import type { Tally } from '../telemetry/tally.ts';
import type { WorkEngine } from '../work/engine.ts';
import { readFacts } from './facts.ts';
import { troublesOf, type UnjudgedStatus } from './troubles.ts';

/** What the status of a lab is found out from. */
export interface StatusSources {
  readonly store: Store;
  readonly events: EventFeed;
  readonly work: WorkEngine;
  readonly monitor: Monitor;
  readonly storage: ArtifactStorage;
  readonly tally: Tally;
  readonly clock: Clock;
  readonly openedAt: number;
  readonly roles: () => readonly Role[];
}

/** No bytes have this hash, as far as anybody knows: a storage that is asked for it has to look. */
const nobodysHash = '0'.repeat(64);

/** Finds out whether the lab can do its work; those who ask at the same time share one answer. */
export class StatusService {
  readonly #sources: StatusSources;
  #latest: { readonly at: number; readonly status: Promise<LabStatus> } | undefined;

  constructor(sources: StatusSources) {
    this.#sources = sources;
  }

  /** Never fails because something is wrong: that is what it tells. */
  get(): Promise<LabStatus> {
    const now = this.#sources.clock.now();
    if (this.#latest === undefined || now - this.#latest.at >= limits.statusMs) {
      this.#latest = { at: now, status: this.#find() };
    }
    return this.#latest.status;
  }

  async #find(): Promise<LabStatus> {
    const { clock, openedAt, roles } = this.#sources;
    const [stored, artifacts] = await Promise.all([this.#storeAndFacts(), this.#artifacts()]);
    const { store, facts, lag } = stored;
    const unjudged: UnjudgedStatus = {
      checkedAt: clock.now(),
      process: { roles: roles(), openedAt },
      store,
      work: { ...this.#work(), ...facts?.work },
      health: {
        ...this.#sources.monitor.watch(),
        shards: limits.healthShards,
        ...(facts !== undefined && { shardsWatched: facts.shardsWatched }),
      },
      artifacts: { ...artifacts, ...(facts?.fullSince !== undefined && { fullSince: facts.fullSince }) },
      ...(lag !== undefined && { events: { lag } }),
      ...(facts !== undefined && { recovery: facts.recovery, waiting: facts.waiting, alerts: facts.alerts }),
    };
    const troubles = troublesOf(unjudged, facts?.anyResource === true);
    return { ...unjudged, condition: troubles[0]?.condition ?? 'ok', troubles };
  }

  #work(): Pick<LabStatus['work'], 'running' | 'concurrency' | 'renewedAt' | 'takeovers'> {
    const { work, tally } = this.#sources;
    const takeovers = tally.counted('workTakeovers').reduce((sum, { value }) => sum + value, 0);
    return { ...work.standing, concurrency: limits.workConcurrency, takeovers };
  }

  async #storeAndFacts(): Promise<{
    readonly store: LabStatus['store'];
    readonly facts?: Awaited<ReturnType<typeof readFacts>>;
    readonly lag?: number;
  }> {
    const { store, events, clock } = this.#sources;
    const began = clock.now();
    try {
      return await withDeadline(clock, 'reading the database', { timeoutMs: limits.statusAnswerMs }, async () => {
        await store.db.selectFrom('facts').select('name').limit(1).executeTakeFirst();
        const latencyMs = clock.now() - began;
        const facts = await readFacts(store, clock.now());
        return { store: { reachable: true, latencyMs }, facts, lag: await events.lag() };
      });
    } catch (error) {
      return { store: { reachable: false, latencyMs: clock.now() - began, error: toBringupError(error).code } };
    }
  }

  async #artifacts(): Promise<LabStatus['artifacts']> {
    const { storage, clock } = this.#sources;
    try {
      const call = { timeoutMs: limits.statusAnswerMs };
      return await withDeadline(clock, 'asking the artifact storage', call, async (signal) => {
        await storage.stat(nobodysHash, { ...call, signal });
        const freeBytes = await storage.freeBytes({ ...call, signal });
        return { reachable: true, ...(freeBytes !== undefined && { freeBytes }) };
      });
    } catch (error) {
      return { reachable: false, error: toBringupError(error).code };
    }
  }
}
