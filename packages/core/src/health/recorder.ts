import type { Clock, Logger } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { MachineHealth, ResourceUtilization } from '../model/health.ts';
import { prepared, type Bind, type PreparedQuery } from '../store/prepared.ts';
import type { Store, StoreTransaction } from '../store/store.ts';
import { looksOf, minuteOf, rollUp, storeMinute, type MinuteOfLooks, type StoredLook } from './history.ts';
import type { Guard } from './shards.ts';
import { renewed, type Target } from './target.ts';

const minuteMs = 60_000;

interface FinishedMinute {
  readonly resourceId: string;
  readonly minute: MinuteOfLooks;
}

/**
 * Stores what looks found, many at a time. Not every figure of every look: a change that a person would
 * see is stored and told at once, the rest now and then.
 */
export class Recorder {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #guard: Guard;
  #changed = new Map<Target, 'visible' | 'slight'>();
  #minutes: FinishedMinute[] = [];
  #timer: Disposable | undefined;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: {
    readonly store: Store;
    readonly clock: Clock;
    readonly logger: Logger;
    readonly guard: Guard;
  }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#guard = options.guard;
  }

  /** Takes down a look; what it found is in the target. */
  add(target: Target, look: StoredLook): void {
    const [at] = look;
    const { unstored } = target;
    unstored.add(look);
    if (at - (unstored.since ?? at) >= minuteMs - limits.healthLookMs / 2) this.finishMinute(target);
    const change = changeOf(target, at);
    if (change !== undefined && this.#changed.get(target) !== 'visible') this.#changed.set(target, change);
    if (this.#changed.size > 0 || this.#minutes.length > 0) this.#arm();
  }

  /** Closes the minute of a target, however short it was. */
  finishMinute(target: Target): void {
    const { since: at } = target.unstored;
    if (at === undefined) return;
    this.#minutes.push({ resourceId: target.id, minute: minuteOf(at, target.unstored.looks()) });
    target.unstored.clear();
  }

  /** Looks at a resource that are not stored yet. */
  unwritten(resourceId: string): readonly StoredLook[] {
    return this.#minutes
      .filter((finished) => finished.resourceId === resourceId)
      .flatMap(({ minute }) => looksOf(minute));
  }

  /** A resource is gone: nothing more of it is stored. */
  forget(target: Target): void {
    this.#changed.delete(target);
    this.#minutes = this.#minutes.filter(({ resourceId }) => resourceId !== target.id);
  }

  /** Stores what there is. */
  flush(): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    this.#timer = undefined;
    this.#flushing = this.#flushing.then(() =>
      this.#write().catch((error: unknown) =>
        this.#logger.warn({ error }, 'what was seen of resources could not be stored'),
      ),
    );
    return this.#flushing;
  }

  #arm(): void {
    this.#timer ??= this.#clock.timer(limits.healthFlushMs, () => void this.flush(), { background: true });
  }

  async #write(): Promise<void> {
    const changed = this.#changed;
    const minutes = this.#minutes;
    this.#changed = new Map();
    this.#minutes = [];
    if (changed.size === 0 && minutes.length === 0) return;
    const now = this.#clock.now();
    await this.#store.transaction(async (tx) => {
      const mayWrite = await this.#guard(tx);
      for (const [target, change] of changed) {
        if (mayWrite(target.id)) await storeState(tx, target, change === 'visible');
      }
      for (const { resourceId, minute } of minutes) {
        if (!mayWrite(resourceId)) continue;
        const stored = await storeMinute(tx, resourceId, minute);
        if (stored && isRollUpTurn(resourceId, minute.at)) await rollUp(tx, resourceId, now);
      }
    });
  }
}

/** Each resource has a minute of the hour of its own, so that they don't all come at once. */
function isRollUpTurn(resourceId: string, at: number): boolean {
  let sum = 0;
  for (let index = 0; index < resourceId.length; index += 1) sum = (sum * 31 + resourceId.charCodeAt(index)) % 60;
  return Math.floor(at / minuteMs) % 60 === sum;
}

interface StateValues {
  readonly id: string;
  readonly utilization: string | null;
  readonly health: string | null;
  readonly lookedAt: number | null;
}

/** Null leaves what is there. */
const updateState: PreparedQuery<StateValues, { name: string }> = prepared((db, p: Bind<StateValues>) =>
  db
    .updateTable('resources')
    .set((eb) => ({
      utilization: eb.fn.coalesce(eb.val(p('utilization')), 'utilization'),
      health: eb.fn.coalesce(eb.val(p('health')), 'health'),
      last_health_check: eb.fn.coalesce(eb.val(p('lookedAt')), 'last_health_check'),
    }))
    .where('id', '=', p('id'))
    .returning('name'),
);

async function storeState(tx: StoreTransaction, target: Target, visible: boolean): Promise<void> {
  const { id, utilization, health, lastLookAt } = target;
  const updated = await updateState.first(tx.db, {
    id,
    utilization: utilization === undefined ? null : JSON.stringify(utilization),
    health: health === undefined ? null : JSON.stringify(health),
    lookedAt: lastLookAt ?? null,
  });
  if (visible && updated !== undefined) {
    await tx.emit('resource:updated', id, { id, kind: target.resource.kind, name: updated.name });
  }
}

/** Whether what is known of a target is to be stored, and whether anybody wants to hear of it. */
function changeOf(target: Target, now: number): 'visible' | 'slight' | undefined {
  const { stored, utilization, health } = target;
  if (health === undefined) return undefined;
  const visible = stored === undefined || isVisible(stored, utilization, health);
  if (!visible && now - stored.at < limits.healthStoreMs) return undefined;
  target.stored = {
    at: now,
    health: renewed(stored?.health, health),
    ...(utilization !== undefined && { utilization: renewed(stored?.utilization, utilization) }),
  };
  return visible ? 'visible' : 'slight';
}

function isVisible(
  before: { readonly utilization?: ResourceUtilization; readonly health: MachineHealth },
  utilization: ResourceUtilization | undefined,
  health: MachineHealth & { readonly powerStatus?: string },
): boolean {
  const old: MachineHealth & { readonly powerStatus?: string } = before.health;
  const { healthVisiblePercent, healthVisibleStorageGb, healthVisibleCelsius } = limits;
  return (
    differs(before.utilization?.cpuPercent, utilization?.cpuPercent, healthVisiblePercent) ||
    differs(before.utilization?.memoryPercent, utilization?.memoryPercent, healthVisiblePercent) ||
    differs(old.freeStorageGb, health.freeStorageGb, healthVisibleStorageGb) ||
    differs(old.temperatureCelsius, health.temperatureCelsius, healthVisibleCelsius) ||
    old.connectivity !== health.connectivity ||
    old.activeCompilations !== health.activeCompilations ||
    old.runningVms !== health.runningVms ||
    old.kernelVersion !== health.kernelVersion ||
    old.powerStatus !== health.powerStatus
  );
}

function differs(before: number | undefined, now: number | undefined, least: number): boolean {
  if (before === undefined || now === undefined) return before !== now;
  return Math.abs(now - before) >= least;
}
