import { limits } from '../limits.ts';
import type { AlertSeverity, AlertType } from '../model/alert.ts';
import type { HealthCondition, HealthThresholds } from '../model/health-watch.ts';
import type { MachineHealth, ResourceUtilization } from '../model/health.ts';
import type { PowerState } from '../model/power.ts';

/** Thresholds with everything decided. */
export type DecidedThresholds = Required<HealthThresholds>;

/** What conditions are judged by: what was measured, if anything was. */
export interface Measured {
  readonly utilization?: ResourceUtilization;
  readonly health: MachineHealth & { readonly powerStatus?: PowerState };
  /** Looks of late that were not answered. */
  readonly failedLooks: number;
  /** Somebody switched it off on purpose. */
  readonly switchedOff: boolean;
}

/** Something that is wrong, as long as it is. */
export interface ActiveCondition {
  readonly message: string;
  /** Looks in a row that no longer showed it. */
  readonly clear: number;
  readonly blocks: boolean;
}

/** All that is wrong with a resource. */
export type Conditions = ReadonlyMap<HealthCondition, ActiveCondition>;

/** Alerts that conditions raise. */
export const conditionAlerts: Readonly<Record<HealthCondition, { type: AlertType; severity: AlertSeverity }>> = {
  'low-storage': { type: 'resources-low', severity: 'warning' },
  'high-utilization': { type: 'resources-low', severity: 'warning' },
  'storage-full': { type: 'resources-low', severity: 'warning' },
  temperature: { type: 'temperature', severity: 'warning' },
  connectivity: { type: 'connectivity', severity: 'warning' },
  power: { type: 'power', severity: 'warning' },
  hypervisor: { type: 'degraded', severity: 'warning' },
};

/** Words that conditions block a resource with. */
export const conditionBlocks: Readonly<Partial<Record<HealthCondition, string>>> = {
  'low-storage': 'disk',
  'high-utilization': 'utilization',
  hypervisor: 'hypervisor',
};

/** Says whether a value is beyond its threshold, near it, or far enough on the good side. */
type Reading = { readonly state: 'bad'; readonly message: string } | { readonly state: 'near' | 'good' };

const good: Reading = { state: 'good' };

/**
 * What is wrong after a look. A condition holds at once when a value is beyond its threshold; it is over
 * when several looks in a row found the value well on the good side of it.
 */
export function conditionsAfter(before: Conditions, measured: Measured, thresholds: DecidedThresholds): Conditions {
  if (before.size === 0 && isWell(measured, thresholds)) return before;
  const after = new Map<HealthCondition, ActiveCondition>();
  for (const [condition, reading] of readings(measured, thresholds)) {
    const known = before.get(condition);
    if (reading.state === 'bad') {
      after.set(condition, { message: reading.message, clear: 0, blocks: blocks(condition, thresholds) });
    } else if (known !== undefined) {
      const clear = reading.state === 'good' ? known.clear + 1 : 0;
      if (clear < limits.healthClearLooks) {
        after.set(condition, { ...known, clear, blocks: blocks(condition, thresholds) });
      }
    }
  }
  // Judged by the looks themselves, see `judge`.
  const hypervisor = before.get('hypervisor');
  if (hypervisor !== undefined) after.set('hypervisor', hypervisor);
  return after;
}

/** What nearly every look finds, found out fast: nothing is beyond any threshold. */
function isWell({ utilization, health, failedLooks, switchedOff }: Measured, thresholds: DecidedThresholds): boolean {
  const { maxUtilizationPercent: most } = thresholds;
  return (
    failedLooks < limits.healthConnectivityFailures &&
    (health.powerStatus !== 'off' || switchedOff) &&
    !(
      thresholds.minFreeStorageGb !== null &&
      (health.freeStorageGb ?? Number.POSITIVE_INFINITY) < thresholds.minFreeStorageGb
    ) &&
    !(most !== null && utilization !== undefined && busiest(utilization) > most) &&
    !exceeds(health.storagePercent, thresholds.maxStoragePercent) &&
    !exceeds(health.temperatureCelsius, thresholds.maxTemperatureCelsius) &&
    !exceeds(health.lastResponseTimeMs, thresholds.maxResponseTimeMs)
  );
}

function busiest({ cpuPercent, memoryPercent, storagePercent }: ResourceUtilization): number {
  return Math.max(cpuPercent, memoryPercent, storagePercent);
}

function exceeds(value: number | undefined, most: number | null): boolean {
  return value !== undefined && most !== null && value > most;
}

/** Whether the same is wrong with the same consequences, however often it was looked at. */
export function sameConditions(a: Conditions, b: Conditions): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [condition, { blocks: blocking }] of a) if (b.get(condition)?.blocks !== blocking) return false;
  return true;
}

function blocks(condition: HealthCondition, thresholds: DecidedThresholds): boolean {
  switch (condition) {
    case 'low-storage':
      return thresholds.blockOnLowStorage;
    case 'high-utilization':
      return thresholds.blockOnHighUtilization;
    default:
      return condition === 'hypervisor';
  }
}

function readings(measured: Measured, thresholds: DecidedThresholds): readonly (readonly [HealthCondition, Reading])[] {
  const { utilization, health } = measured;
  const { minFreeStorageGb, maxUtilizationPercent } = thresholds;
  return [
    ['low-storage', below(health.freeStorageGb, minFreeStorageGb, (gb) => `${round(gb)} GB of free storage`)],
    [
      'high-utilization',
      worst(
        above(utilization?.cpuPercent, maxUtilizationPercent, (value) => `CPU at ${round(value)} %`),
        above(utilization?.memoryPercent, maxUtilizationPercent, (value) => `memory at ${round(value)} %`),
        above(utilization?.storagePercent, maxUtilizationPercent, (value) => `storage at ${round(value)} %`),
      ),
    ],
    [
      'storage-full',
      above(health.storagePercent, thresholds.maxStoragePercent, (value) => `storage at ${round(value)} %`),
    ],
    [
      'temperature',
      above(health.temperatureCelsius, thresholds.maxTemperatureCelsius, (value) => `${round(value)} °C`),
    ],
    ['connectivity', connectivityReading(measured, thresholds)],
    ['power', powerReading(measured)],
  ];
}

function connectivityReading({ health, failedLooks }: Measured, { maxResponseTimeMs }: DecidedThresholds): Reading {
  if (failedLooks >= limits.healthConnectivityFailures) {
    const message = `${failedLooks} of the last ${limits.healthConnectivityLooks} looks were not answered`;
    return { state: 'bad', message };
  }
  if (failedLooks > 0) return { state: 'near' };
  return above(health.lastResponseTimeMs, maxResponseTimeMs, (value) => `it answered after ${round(value)} ms`);
}

function powerReading({ health, switchedOff }: Measured): Reading {
  return health.powerStatus === 'off' && !switchedOff
    ? { state: 'bad', message: 'its outlet says that it is off' }
    : good;
}

function above(value: number | undefined, most: number | null, describe: (value: number) => string): Reading {
  if (value === undefined || most === null) return good;
  if (value > most) return { state: 'bad', message: `${describe(value)}, more than ${most}` };
  return { state: value > most * (1 - limits.healthMarginPercent / 100) ? 'near' : 'good' };
}

function below(value: number | undefined, least: number | null, describe: (value: number) => string): Reading {
  if (value === undefined || least === null) return good;
  if (value < least) return { state: 'bad', message: `${describe(value)}, less than ${least}` };
  return { state: value < least * (1 + limits.healthMarginPercent / 100) ? 'near' : 'good' };
}

function worst(...readings: readonly Reading[]): Reading {
  const bad = readings.flatMap((reading) => (reading.state === 'bad' ? [reading.message] : []));
  if (bad.length > 0) return { state: 'bad', message: bad.join(', ') };
  return readings.find(({ state }) => state === 'near') ?? good;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
