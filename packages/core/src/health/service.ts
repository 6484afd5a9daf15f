import { withDeadline } from '../async.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import { notFound } from '../errors.ts';
import type {
  HealthHistoryQuery,
  HealthReport,
  HealthSample,
  HealthThresholds,
  ThresholdScope,
} from '../model/health-watch.ts';
import type { ResourceKind } from '../model/resource.ts';
import { checkThresholds } from './thresholds.ts';
import { readHistory } from './history.ts';
import { defaultThresholds } from './looker.ts';
import type { Monitor, MonitorOptions } from './monitor.ts';

/** Watches what the lab is made of: whether it is there, what it is busy with, and whether it is well. */
export interface HealthMonitorService {
  /**
   * Begins to watch resources from this process. Several processes that watch share them, up to
   * `limits.healthShards`, and take over what one watched that ends. A lab with the role `health` starts this by
   * itself.
   */
  startMonitoring(): Promise<void>;
  /** Stops it; other processes may go on at once. Statuses stay as they were last seen. */
  stopMonitoring(): Promise<void>;
  /** Whether this process watches any. */
  readonly isMonitoring: boolean;
  /**
   * Looks at a build server now, retries included, stores what it found and tells it.
   * @throws `not-found`, `aborted`, `deadline-exceeded`.
   */
  checkBuildServerHealth(id: string, options?: CallOptions): Promise<HealthReport>;
  /** The same for a host. @throws as `checkBuildServerHealth`. */
  checkHostHealth(id: string, options?: CallOptions): Promise<HealthReport>;
  /** The same for a board. @throws as `checkBuildServerHealth`. */
  checkBoardHealth(id: string, options?: CallOptions): Promise<HealthReport>;
  /**
   * How a resource did, oldest first. The last minute is told only by the process that watches.
   * @throws `not-found`.
   */
  getHealthHistory(resourceId: string, query?: HealthHistoryQuery): Promise<readonly HealthSample[]>;
  /**
   * Says when something is worth a warning; replaces what was set for the same scope before. Counts from
   * the next look on.
   * @throws `invalid-input`.
   */
  setHealthThresholds(scope: ThresholdScope, thresholds: HealthThresholds): Promise<void>;
  /** What was set for exactly this scope. */
  getHealthThresholds(scope: ThresholdScope): Promise<HealthThresholds>;
  /** What counts for one resource, each threshold from the nearest scope that sets it. @throws `not-found`. */
  getEffectiveThresholds(resourceId: string): Promise<Required<HealthThresholds>>;
}

/** The service over one monitor. */
export function healthService(options: MonitorOptions, monitor: Monitor): HealthMonitorService {
  const { store, clock } = options;
  const check =
    (kind: ResourceKind) =>
    (id: string, call: CallOptions = {}) =>
      withDeadline(clock, `looking at ${id}`, call, (signal) => report(monitor, id, kind, signal));
  const find = async (id: string): Promise<{ kind: ResourceKind; groupId: string | undefined }> => {
    const row = await store.db
      .selectFrom('resources')
      .select(['kind', 'group_id'])
      .where('id', '=', id)
      .executeTakeFirst();
    if (row === undefined) throw notFound('resource', id);
    return { kind: row.kind as ResourceKind, groupId: row.group_id ?? undefined };
  };
  return {
    startMonitoring: () => monitor.start(),
    stopMonitoring: () => monitor.stop(),
    get isMonitoring() {
      return monitor.isWatching;
    },
    checkBuildServerHealth: check('build_server'),
    checkHostHealth: check('host'),
    checkBoardHealth: check('board'),
    getHealthHistory: async (resourceId, query = {}) => {
      await find(resourceId);
      const unwritten = monitor.unwritten(resourceId);
      return readHistory(store, resourceId, query, { now: clock.now(), unwritten });
    },
    setHealthThresholds: async (scope, thresholds) => {
      const checked = checkThresholds(scope, thresholds);
      await monitor.thresholds.set(checked.scope, checked.thresholds);
    },
    getHealthThresholds: async (scope) => {
      await monitor.thresholds.refresh();
      return monitor.thresholds.of(checkThresholds(scope, {}).scope);
    },
    getEffectiveThresholds: async (id) => {
      await monitor.thresholds.refresh();
      const found = await find(id);
      return monitor.thresholds.decide({ id, ...found }, defaultThresholds(found.kind));
    },
  };
}

async function report(monitor: Monitor, id: string, kind: ResourceKind, signal: AbortSignal): Promise<HealthReport> {
  const { target, result, at } = await monitor.check(id, kind, signal);
  const { utilization, health } = target;
  return {
    resourceId: id,
    kind,
    status: target.standing.status,
    reachable: result.error === undefined,
    checkedAt: at,
    conditions: [...target.conditions.keys()],
    // Copies: the next look writes into these.
    ...(utilization !== undefined && { utilization: { ...utilization } }),
    ...(health !== undefined && { health: { ...health } }),
    ...(result.error !== undefined && { error: result.error.toJSON() }),
  };
}
