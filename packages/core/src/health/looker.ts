import { withDeadline } from '../async.ts';
import type { Clock, Logger, Random } from '../contracts/runtime.ts';
import { BringupError, isBringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { BoardHealth, Connectivity, MachineHealth } from '../model/health.ts';
import type { ResourceKind } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Store } from '../store/store.ts';
import { applyChange, isChange, isLookedAfter, isSwitchedOff, type StartRecovery } from './apply.ts';
import { conditionsAfter, type Conditions, type DecidedThresholds } from './conditions.ts';
import { Gate } from './gate.ts';
import type { StoredLook } from './history.ts';
import { judge, type Outcome, type Verdict } from './judge.ts';
import { boardHealth } from './kinds/board.ts';
import { buildServerHealth } from './kinds/build-server.ts';
import { hostHealth } from './kinds/host.ts';
import { LookCall, type Look } from './kinds/kind.ts';
import type { Recorder } from './recorder.ts';
import type { Guard } from './shards.ts';
import { renewed, type Target } from './target.ts';
import type { ThresholdBook } from './thresholds.ts';
import { utilizationOf } from './vitals.ts';

const kinds = { build_server: buildServerHealth, host: hostHealth, board: boardHealth };

/** More delay than this and it was this process that was late, not the target. */
const starvedMs = 500;

/** What looks are made with. */
export interface LookerOptions {
  readonly store: Store;
  readonly connectors: Connectors;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly thresholds: ThresholdBook;
  readonly recorder: Recorder;
  readonly recover: StartRecovery;
}

/** What one look came to. */
export interface LookResult {
  /** Look again after this long; undefined: when its turn comes. */
  readonly againInMs: number | undefined;
  /** Whether nothing more is to be looked at before its state is certain. */
  readonly settled: boolean;
  readonly error?: BringupError;
  /** The resource is no longer there. */
  readonly gone?: boolean;
}

/** How long a resource of the kind is left alone between two looks. */
export function lookIntervalMs({ resource: { kind } }: Target): number {
  return kinds[kind].lookMs;
}

/** Thresholds of a kind where nobody has set others. */
export function defaultThresholds(kind: ResourceKind): DecidedThresholds {
  return kinds[kind].thresholds;
}

/** Looks at resources, judges what it sees and stores it. A bounded number at a time. */
export class Looker {
  readonly #options: LookerOptions;
  readonly #looks = new Gate(limits.healthConcurrency);
  readonly #connects = new Gate(limits.healthConnects);

  constructor(options: LookerOptions) {
    this.#options = options;
  }

  /**
   * Looks once. Looks at one resource come one after the other.
   *
   * @param guard - asked in each transaction whether this process may write.
   * @throws only what the store throws.
   */
  async look(target: Target, signal: AbortSignal, guard: Guard): Promise<LookResult> {
    while (target.looking !== undefined) await target.looking.catch(() => undefined);
    const looking = this.#look(target, signal, guard);
    target.looking = looking;
    try {
      return await looking;
    } finally {
      target.looking = undefined;
    }
  }

  async #look(target: Target, signal: AbortSignal, guard: Guard): Promise<LookResult> {
    if (isLookedAfter(target.standing.status)) return { againInMs: undefined, settled: true };
    const { clock, logger } = this.#options;
    const gate = target.way.isOpen ? this.#looks : this.#connects;
    const seen = await gate.pass(() => this.#see(target, signal));
    if (signal.aborted || seen === 'left alone') return { againInMs: undefined, settled: true };
    if (seen === 'starved') {
      logger.warn({ resource: target.id }, 'a look at a resource was not judged: this process was too busy');
      return { againInMs: limits.healthRecheckMs, settled: false };
    }
    const verdict = judge(target.standing, seen.outcome, clock.now());
    const error = seen.outcome.type === 'failed' ? seen.outcome.error : undefined;
    this.#takeDown(target, seen, verdict);
    const gone = await this.#apply(target, verdict, seen, error, guard);
    const { againInMs } = verdict;
    const { failures, status, hypervisorFailures, answers } = verdict.standing;
    const retrying =
      status === 'offline' ? answers > 0 : failures > 0 || (hypervisorFailures > 0 && status !== 'degraded');
    return {
      againInMs,
      settled: !(retrying && againInMs !== undefined),
      ...(error !== undefined && { error }),
      ...(gone && { gone }),
    };
  }

  /** What the target says, or that it says nothing. */
  async #see(target: Target, signal: AbortSignal): Promise<Seen | 'left alone' | 'starved'> {
    const { clock } = this.#options;
    if (signal.aborted || (await this.#isOccupied(target))) return 'left alone';
    const { kind } = target.resource;
    const { probeMs } = kinds[kind];
    const beganAt = clock.now();
    const full = target.factsAt === undefined || beganAt - target.factsAt >= limits.healthFactsMs;
    try {
      const look = await withDeadline(clock, `looking at ${target.id}`, { signal, timeoutMs: probeMs }, (inner) =>
        this.#ask(target, full, inner),
      );
      const at = clock.now();
      if (full) target.factsAt = at;
      const { hypervisorError } = look;
      const outcome: Outcome = hypervisorError === undefined ? answered : { type: 'answered', hypervisorError };
      return new Seen(outcome, look, at, at - beganAt);
    } catch (error) {
      target.way.drop();
      const at = clock.now();
      const late = at - beganAt - probeMs;
      if (isBringupError(error, 'deadline-exceeded') && late > starvedMs) return 'starved';
      return new Seen({ type: 'failed', error: describe(error, probeMs) }, {}, at, at - beganAt);
    }
  }

  #ask(target: Target, full: boolean, signal: AbortSignal): Promise<Look> {
    const { connectors } = this.#options;
    const { resource } = target;
    switch (resource.kind) {
      case 'build_server':
        return buildServerHealth.look(new LookCall(target, resource.view, connectors, full, signal));
      case 'host':
        return hostHealth.look(new LookCall(target, resource.view, connectors, full, signal));
      case 'board':
        return boardHealth.look(new LookCall(target, resource.view, connectors, full, signal));
    }
  }

  /** A board that has only its console, and somebody who uses it: typing there would disturb. */
  async #isOccupied({ id, resource }: Target): Promise<boolean> {
    if (resource.kind !== 'board' || resource.view.hostname !== undefined) return false;
    const row = await this.#options.store.db
      .selectFrom('resources')
      .select(['slots_used', 'status'])
      .where('id', '=', id)
      .executeTakeFirst();
    return row === undefined || row.slots_used > 0 || row.status === 'flashing' || row.status === 'recovery';
  }

  /** Remembers what was seen, and has it stored in its time. */
  #takeDown(target: Target, { outcome, look, at, responseTimeMs }: Seen, { standing, change }: Verdict): void {
    const answered = outcome.type === 'answered';
    const { vitals } = look;
    // What was missed while it was away is not missed now.
    if (answered && change?.status === 'online') target.missed = 0;
    target.missed = ((target.missed << 1) | (answered ? 0 : 1)) & ((1 << limits.healthConnectivityLooks) - 1);
    if (vitals !== undefined) {
      target.utilization = renewed(target.utilization, utilizationOf(vitals, target.ticks));
      target.ticks = renewed(target.ticks, { cpuBusy: vitals.cpuBusy, cpuTotal: vitals.cpuTotal });
    }
    if (look.powerStatus !== undefined) target.powerStatus = look.powerStatus;
    if (answered) target.lastLookAt = at;
    const isOffline = standing.status === 'offline';
    const now = healthAfter(target, look, answered ? responseTimeMs : undefined, isOffline);
    target.health = renewed(target.health, now);
    const { utilization, health } = target;
    const figures = vitals === undefined ? undefined : utilization;
    const stored: StoredLook = [
      at,
      answered ? 1 : 0,
      answered ? responseTimeMs : null,
      figures?.cpuPercent ?? null,
      figures?.memoryPercent ?? null,
      figures?.storagePercent ?? null,
      answered ? (health.temperatureCelsius ?? null) : null,
      look.activity ?? null,
      figures?.networkBytesIn ?? null,
      figures?.networkBytesOut ?? null,
    ];
    this.#options.recorder.add(target, stored);
  }

  async #apply(
    target: Target,
    verdict: Verdict,
    { outcome, look }: Seen,
    error: BringupError | undefined,
    guard: Guard,
  ): Promise<boolean> {
    const { store, clock, random, recover } = this.#options;
    const conditions = this.#conditions(target, verdict, outcome, look);
    const change = { verdict, conditions, ...(error !== undefined && { error }) };
    if (isChange(target, change)) {
      const applied = await store.transaction(async (tx) => {
        if (!(await guard(tx))(target.id))
          throw new BringupError('lease-lost', 'another process watches the resource now');
        return applyChange(tx, target, change, { clock, random, recover });
      });
      if (applied === undefined) return true;
      target.outage = applied.outage;
      target.standing = { ...verdict.standing, status: applied.status };
      if (isLookedAfter(applied.status)) target.standing = { ...target.standing, failures: 0, answers: 0 };
    } else target.standing = verdict.standing;
    target.conditions = conditions;
    return false;
  }

  #conditions(target: Target, { standing, change }: Verdict, outcome: Outcome, look: Look): Conditions {
    if (outcome.type === 'failed' || standing.status === 'offline' || target.health === undefined)
      return target.conditions;
    const { thresholds } = this.#options;
    const { kind } = target.resource;
    const decided = thresholds.decide({ id: target.id, kind, groupId: target.groupId }, kinds[kind].thresholds);
    const measured = {
      health: target.health,
      failedLooks: countBits(target.missed),
      switchedOff: isSwitchedOff(target),
      ...(target.utilization !== undefined && { utilization: target.utilization }),
    };
    const after = conditionsAfter(target.conditions, measured, decided);
    const { hypervisorError } = look;
    if (change?.status === 'degraded' && hypervisorError !== undefined) {
      return new Map(after).set('hypervisor', { message: change.reason, clear: 0, blocks: true });
    }
    if (!after.has('hypervisor') || hypervisorError !== undefined || standing.status !== 'online') return after;
    const well = new Map(after);
    well.delete('hypervisor');
    return well;
  }
}

const answered: Outcome = { type: 'answered' };

/** What a look saw. A class for the reason that {@link LookCall} is one. */
class Seen {
  readonly outcome: Outcome;
  readonly look: Look;
  readonly at: number;
  readonly responseTimeMs: number;

  constructor(outcome: Outcome, look: Look, at: number, responseTimeMs: number) {
    this.outcome = outcome;
    this.look = look;
    this.at = at;
    this.responseTimeMs = responseTimeMs;
  }
}

function describe(error: unknown, probeMs: number): BringupError {
  const known = toBringupError(error, 'connection-failed');
  if (known.code !== 'deadline-exceeded') return known;
  return toBringupError(
    new Error(`it did not answer within ${probeMs / 1000} s`, { cause: known }),
    'connection-failed',
  );
}

/** How a resource is after a look; what the look could not tell stays as it was. */
function healthAfter(
  target: Target,
  { vitals, activity }: Look,
  responseTimeMs: number | undefined,
  isOffline: boolean,
): MachineHealth | BoardHealth {
  const { kind } = target.resource;
  const before = target.health;
  const connectivity: Connectivity = isOffline
    ? 'unhealthy'
    : countBits(target.missed) >= limits.healthConnectivityFailures || target.conditions.has('connectivity')
      ? 'degraded'
      : 'healthy';
  const temperature = vitals?.temperatureCelsius;
  return {
    ...before,
    connectivity,
    ...(temperature !== undefined && { temperatureCelsius: temperature }),
    ...(vitals !== undefined && {
      storagePercent: target.utilization?.storagePercent ?? 0,
      freeStorageGb: Math.round((vitals.storageFreeKb / 1024 / 1024) * 10) / 10,
      // The string that is there already, if it is the same: the new one is part of a longer one.
      kernelVersion: vitals.kernelVersion === before?.kernelVersion ? before.kernelVersion : vitals.kernelVersion,
    }),
    ...(responseTimeMs !== undefined && { lastResponseTimeMs: responseTimeMs }),
    ...(activity !== undefined && (kind === 'host' ? { runningVms: activity } : { activeCompilations: activity })),
    ...(kind === 'board' && { powerStatus: target.powerStatus ?? 'unknown' }),
  };
}

function countBits(bits: number): number {
  let count = 0;
  for (let rest = bits; rest !== 0; rest &= rest - 1) count += 1;
  return count;
}
