import { limits } from '../../limits.ts';
import { readVitals } from '../vitals.ts';
import { plainThresholds, type HealthKind } from './kind.ts';

/** Build servers: their shell, and the compilers at work. */
export const buildServerHealth: HealthKind<'build_server'> = {
  lookMs: limits.healthLookMs,
  probeMs: limits.healthProbeMs,
  thresholds: { ...plainThresholds, minFreeStorageGb: limits.healthMinFreeStorageGb },
  async look(call) {
    const { target, view } = call;
    const shell = await target.way.shell(view, call);
    const vitals = await readVitals(shell, view.workspace, call);
    return { vitals, activity: vitals.compilers };
  },
};
