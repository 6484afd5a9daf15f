import type { BringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { PowerState } from '../../model/power.ts';
import type { ResourceKind } from '../../model/resource.ts';
import type { Connectors } from '../../pool/connectors.ts';
import type { DecidedThresholds } from '../conditions.ts';
import type { Target, WatchedResource } from '../target.ts';
import type { Vitals } from '../vitals.ts';

/** What one look at a resource found. What it can't tell is absent. */
export interface Look {
  readonly vitals?: Vitals;
  /** Compilers on a build server, VMs on a host. */
  readonly activity?: number;
  /** The host answers, its hypervisor does not. */
  readonly hypervisorError?: BringupError;
  readonly powerStatus?: PowerState;
}

/**
 * How a look is made. What holds things for as long as a look takes is an instance of a class, a closure, or
 * a local variable. An object literal would cost much more: when V8 has seen most objects of one literal
 * outlive a collection, as they do while a lab is looked at for the first time, it makes all later ones
 * among the old objects. There they soon are garbage, but keep what they refer to alive until the next
 * full collection.
 */
export class LookCall<View> {
  readonly target: Target;
  readonly view: View;
  readonly connectors: Connectors;
  /** Asks also for what changes rarely. */
  readonly full: boolean;
  readonly signal: AbortSignal;

  constructor(target: Target, view: View, connectors: Connectors, full: boolean, signal: AbortSignal) {
    this.target = target;
    this.view = view;
    this.connectors = connectors;
    this.full = full;
    this.signal = signal;
  }
}

/** All that differs between the kinds when they are watched. */
export interface HealthKind<K extends ResourceKind> {
  /** Between two looks, milliseconds. */
  readonly lookMs: number;
  /** One look, connecting included, milliseconds. */
  readonly probeMs: number;
  readonly thresholds: DecidedThresholds;
  /** Looks once. @throws when the resource does not answer. */
  look(call: LookCall<Extract<WatchedResource, { kind: K }>['view']>): Promise<Look>;
}

/** Thresholds where a kind has none of its own. */
export const plainThresholds: DecidedThresholds = {
  minFreeStorageGb: null,
  blockOnLowStorage: false,
  maxUtilizationPercent: null,
  blockOnHighUtilization: true,
  maxTemperatureCelsius: limits.healthMaxTemperatureCelsius,
  maxStoragePercent: null,
  maxResponseTimeMs: null,
};
