import type { Selectable } from 'kysely';
import type { BoardHealth, MachineHealth, ResourceUtilization } from '../model/health.ts';
import type { PowerState } from '../model/power.ts';
import type { Board, BuildServer, Host, ResourceKind } from '../model/resource.ts';
import { blockedBy } from '../pool/kind.ts';
import { boardKind } from '../pool/kinds/board.ts';
import { buildServerKind } from '../pool/kinds/build-server.ts';
import { hostKind } from '../pool/kinds/host.ts';
import type { StoredStatus } from '../pool/status.ts';
import type { ResourceRow } from '../store/schema/pool.ts';
import type { Conditions } from './conditions.ts';
import { initialStanding, type Standing } from './judge.ts';
import { LookLog } from './look-log.ts';
import type { ScannedRow } from './scan.ts';
import type { CpuTicks } from './vitals.ts';
import type { Way } from './way.ts';

/** A resource of any kind as its users see it. */
export type WatchedResource =
  | { readonly kind: 'build_server'; readonly view: BuildServer }
  | { readonly kind: 'host'; readonly view: Host }
  | { readonly kind: 'board'; readonly view: Board };

/** What looks at a resource remember of it; one for each that this process watches. */
export interface Target {
  readonly id: string;
  readonly way: Way;
  resource: WatchedResource;
  /** When its row was last read into `resource`. */
  readonly updatedAt: number;
  readonly groupId: string | undefined;
  readonly maintenance: boolean;
  /** Somebody holds it. */
  readonly inUse: boolean;
  /** Words others block it with, such as `powered-off`. */
  readonly blocked: readonly string[];
  /** The last scan of the pool that found it. */
  seenIn: number;
  standing: Standing;
  conditions: Conditions;
  /** The alert that was raised when it could no longer be reached. */
  outage: 'unreachable' | 'authentication-failed' | undefined;
  /** One bit for each look of late, the last one lowest: 1 when it was not answered. */
  missed: number;
  /** As of the last look. */
  ticks?: CpuTicks;
  /** When what changes rarely was last asked. */
  factsAt?: number;
  powerStatus?: PowerState;
  utilization?: ResourceUtilization;
  health?: MachineHealth | BoardHealth;
  /** As last stored, for telling a visible change. */
  stored?: { readonly at: number; readonly utilization?: ResourceUtilization; readonly health: MachineHealth };
  lastLookAt?: number;
  readonly unstored: LookLog;
  /** The look that is under way; the next one waits for it. */
  looking: Promise<unknown> | undefined;
  /** When that turn began. */
  turnSince: number | undefined;
  /** Ends the turn that is under way. Each has its own: one signal's listeners are searched one by one. */
  stop: AbortController | undefined;
}

/**
 * Puts figures in the place of older ones. What is kept from look to look is not made anew for each: V8
 * takes what outlived a few seconds for something that stays, and is slow to see that it did not.
 */
export function renewed<T extends object>(old: T | undefined, figures: T): T {
  return old === undefined ? { ...figures } : Object.assign(old, figures);
}

/** The parts of a target that are read from its row again and again. */
export type TargetRow = Pick<Target, 'updatedAt' | 'groupId' | 'maintenance' | 'inUse' | 'blocked'>;

/** A resource with the view of its kind. */
export function watchedResource(row: Selectable<ResourceRow>): WatchedResource {
  const kind = row.kind as ResourceKind;
  switch (kind) {
    case 'build_server':
      return { kind, view: buildServerKind.view(row) };
    case 'host':
      return { kind, view: hostKind.view(row) };
    case 'board':
      return { kind, view: boardKind.view(row) };
  }
}

/** What of a row decides how the resource is watched. */
export function targetRow(
  row: Pick<ScannedRow, 'updated_at' | 'group_id' | 'maintenance' | 'slots_used' | 'blocked'>,
): TargetRow {
  return {
    updatedAt: row.updated_at,
    groupId: row.group_id ?? undefined,
    maintenance: row.maintenance === 1,
    inUse: row.slots_used > 0,
    blocked: blockedBy(row),
  };
}

const noConditions: Conditions = new Map();

/** A target nobody has looked at yet; what is stored of it is where looks go on. */
export function newTarget(
  row: Selectable<ResourceRow>,
  way: Way,
  told: Pick<Target, 'conditions' | 'outage'> | undefined,
  seenIn = 0,
): Target {
  const utilization = row.utilization === null ? undefined : (JSON.parse(row.utilization) as ResourceUtilization);
  const health = row.health === null ? undefined : (JSON.parse(row.health) as MachineHealth);
  return {
    id: row.id,
    way,
    resource: watchedResource(row),
    ...targetRow(row),
    seenIn,
    standing: initialStanding(row.status as StoredStatus),
    conditions: told?.conditions ?? noConditions,
    outage: told?.outage,
    missed: 0,
    unstored: new LookLog(),
    looking: undefined,
    turnSince: undefined,
    stop: undefined,
    ...(utilization !== undefined && { utilization }),
    ...(health !== undefined && { health }),
  };
}
