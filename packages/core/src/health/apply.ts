import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import type { BringupError } from '../errors.ts';
import type { AlertSeverity, AlertType } from '../model/alert.ts';
import type { HealthCondition } from '../model/health-watch.ts';
import { changeStatus, type StoredStatus } from '../pool/status.ts';
import type { StoreTransaction } from '../store/store.ts';
import {
  conditionAlerts,
  conditionBlocks,
  sameConditions,
  type ActiveCondition,
  type Conditions,
} from './conditions.ts';
import { isRefusal, type Verdict } from './judge.ts';
import type { Target } from './target.ts';

/** Brings back a resource that can't be reached, in the transaction that found it so. Called as often as it is found. */
export type StartRecovery = (tx: StoreTransaction, resourceId: string, reason: string) => Promise<unknown>;

/** What a look changes of what is stored, beside figures. */
export interface Change {
  readonly verdict: Verdict;
  readonly conditions: Conditions;
  /** Why the look failed. */
  readonly error?: BringupError;
}

/** What changes are applied with. */
export interface ApplyServices {
  readonly clock: Clock;
  readonly random: Random;
  readonly recover: StartRecovery;
}

/** In these, somebody else decides what becomes of the resource. */
const lookedAfter: readonly StoredStatus[] = ['flashing', 'recovery'];

/** Whether something is being done to a resource that health must not judge. */
export function isLookedAfter(status: StoredStatus): boolean {
  return lookedAfter.includes(status);
}

/** The word that power control blocks a board with which was switched off on request. */
const poweredOff = 'powered-off';

/** Whether somebody switched it off on purpose. */
export function isSwitchedOff({ blocked }: Pick<Target, 'blocked'>): boolean {
  return blocked.includes(poweredOff);
}

/** Whether a look has anything to say beyond its figures. */
export function isChange(target: Target, { verdict, conditions, error }: Change): boolean {
  if (verdict.change !== undefined || !sameConditions(conditions, target.conditions)) return true;
  if (error === undefined) return target.outage !== undefined && verdict.standing.status !== 'offline';
  return (
    verdict.standing.status === 'offline' && (target.outage !== outageType(error) || target.resource.kind === 'board')
  );
}

function outageType(error: BringupError): 'unreachable' | 'authentication-failed' {
  return isRefusal(error) ? 'authentication-failed' : 'unreachable';
}

/**
 * Stores a change of status and conditions with its alerts: all of it or nothing. Gives the status it has
 * now, and the outage it is in; undefined when the resource is gone.
 */
export async function applyChange(
  tx: StoreTransaction,
  target: Target,
  change: Change,
  services: ApplyServices,
): Promise<{ readonly status: StoredStatus; readonly outage: Target['outage'] } | undefined> {
  const now = services.clock.now();
  const { id } = target;
  const row = await tx.db.selectFrom('resources').select(['status', 'name']).where('id', '=', id).executeTakeFirst();
  if (row === undefined) return undefined;
  const stored = row.status as StoredStatus;
  if (isLookedAfter(stored)) return { status: stored, outage: target.outage };
  await changeStatus(tx, id, {
    ...(change.verdict.change !== undefined && change.verdict.change),
    block: blocksOf(change.conditions),
    unblock: blocksOf(target.conditions).filter((word) => !blocksOf(change.conditions).includes(word)),
    now,
  });
  await applyConditions(tx, target, row.name, change.conditions, services);
  const outage = await applyOutage(tx, target, row.name, change, services);
  if (outage !== undefined && target.resource.kind === 'board' && !isSwitchedOff(target)) {
    await services.recover(tx, id, change.error?.message ?? 'it does not answer');
  }
  const after = await tx.db.selectFrom('resources').select('status').where('id', '=', id).executeTakeFirst();
  return after && { status: after.status as StoredStatus, outage };
}

function blocksOf(conditions: Conditions): readonly string[] {
  const words = [...conditions].map(([name, { blocks }]) => (blocks ? conditionBlocks[name] : undefined));
  return words.filter((word) => word !== undefined);
}

/** One alert for as long as it can't be reached, and one for as long as it refuses the login. */
async function applyOutage(
  tx: StoreTransaction,
  target: Target,
  name: string,
  { verdict, error }: Change,
  services: ApplyServices,
): Promise<Target['outage']> {
  const { id, outage } = target;
  const now = services.clock.now();
  if (verdict.standing.status !== 'offline') {
    if (outage !== undefined) await resolveAlert(tx, { type: outage, subject: id }, 'recovered', now);
    return undefined;
  }
  if (error === undefined || isSwitchedOff(target)) return outage;
  const type = outageType(error);
  if (type === outage) return outage;
  if (outage !== undefined) await resolveAlert(tx, { type: outage, subject: id }, `it is ${type} now`, now);
  await raiseAlert(
    tx,
    {
      type,
      severity: severityOf(target, 'critical'),
      subject: id,
      message:
        type === 'unreachable'
          ? `${name} can't be reached: ${error.message}. Nothing new is allocated there until it answers again.`
          : `${name} refuses the login: ${error.message}. Check its account, its key and its host key.`,
      details: { resource: name, code: error.code },
    },
    services,
  );
  return type;
}

/** Somebody works on what is in maintenance, and knows. */
function severityOf({ maintenance }: Target, severity: AlertSeverity): AlertSeverity {
  return maintenance ? 'info' : severity;
}

async function applyConditions(
  tx: StoreTransaction,
  target: Target,
  name: string,
  conditions: Conditions,
  services: ApplyServices,
): Promise<void> {
  const before = byAlert(target.conditions);
  const after = byAlert(conditions);
  for (const type of new Set([...before.keys(), ...after.keys()])) {
    const now = after.get(type) ?? [];
    const sameAsBefore =
      now.map(([condition]) => condition).join() === (before.get(type) ?? []).map(([key]) => key).join();
    if (sameAsBefore) continue;
    if (now.length === 0) {
      await resolveAlert(tx, { type, subject: target.id }, 'recovered', services.clock.now());
      continue;
    }
    const blocked = now.some(([, { blocks }]) => blocks) ? ' Nothing new is allocated there.' : '';
    await raiseAlert(
      tx,
      {
        type,
        severity: severityOf(target, conditionAlerts[now[0]?.[0] ?? 'connectivity'].severity),
        subject: target.id,
        message: `${name}: ${now.map(([, { message }]) => message).join('; ')}.${blocked}`,
        details: { resource: name, conditions: Object.fromEntries(now.map(([key, { message }]) => [key, message])) },
      },
      services,
    );
  }
}

function byAlert(conditions: Conditions): Map<AlertType, (readonly [HealthCondition, ActiveCondition])[]> {
  const groups = new Map<AlertType, (readonly [HealthCondition, ActiveCondition])[]>();
  for (const entry of conditions) {
    const { type } = conditionAlerts[entry[0]];
    groups.set(type, [...(groups.get(type) ?? []), entry]);
  }
  return groups;
}

/** Conditions and outages that were told before this process began to watch, by resource. */
export async function readTold(
  db: Pick<StoreTransaction['db'], 'selectFrom'>,
  resourceId?: string,
): Promise<ReadonlyMap<string, { readonly conditions: Conditions; readonly outage: Target['outage'] }>> {
  const types: readonly AlertType[] = ['unreachable', 'authentication-failed'];
  const rows = await db
    .selectFrom('alerts')
    .select(['subject', 'type', 'details'])
    .where('resolved_at', 'is', null)
    .where('type', 'in', [...types, ...new Set(Object.values(conditionAlerts).map(({ type }) => type))])
    .$if(resourceId !== undefined, (query) => query.where('subject', '=', resourceId ?? ''))
    .execute();
  const told = new Map<string, { conditions: Map<HealthCondition, ActiveCondition>; outage: Target['outage'] }>();
  for (const { subject, type, details } of rows) {
    const known = told.get(subject) ?? { conditions: new Map<HealthCondition, ActiveCondition>(), outage: undefined };
    told.set(subject, known);
    if (type === 'unreachable' || type === 'authentication-failed') known.outage = type;
    const { conditions = {} } = JSON.parse(details) as { conditions?: Partial<Record<HealthCondition, string>> };
    for (const [condition, message] of Object.entries(conditions)) {
      known.conditions.set(condition as HealthCondition, { message, clear: 0, blocks: true });
    }
  }
  return told;
}
