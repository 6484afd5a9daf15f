import type { ShellSession } from '../../contracts/shell.ts';
import { toBringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Host } from '../../model/resource.ts';
import { readVitals } from '../vitals.ts';
import { plainThresholds, type HealthKind, type Look, type LookCall } from './kind.ts';

/** Hosts: their shell, whether the hypervisor answers, and the VMs that run. */
export const hostHealth: HealthKind<'host'> = {
  lookMs: limits.healthLookMs,
  probeMs: limits.healthProbeMs,
  thresholds: { ...plainThresholds, maxUtilizationPercent: limits.healthMaxUtilizationPercent },
  async look(call) {
    const { target, view } = call;
    const shell = await target.way.shell(view, call);
    const [vitals, hypervisor] = await Promise.all([
      readVitals(shell, view.workspace, call),
      askHypervisor(call, shell),
    ]);
    return { vitals, ...hypervisor };
  },
};

/** A hypervisor gets half of the time of the look: that it hangs must not look as if the host did. */
async function askHypervisor(
  { target, view, signal }: LookCall<Host>,
  shell: ShellSession,
): Promise<Pick<Look, 'activity' | 'hypervisorError'>> {
  const call = { signal, timeoutMs: limits.healthProbeMs / 2 };
  try {
    const hypervisor = await target.way.hypervisor(view, shell, call);
    const vms = await hypervisor.listVms(call);
    return { activity: vms.filter(({ state }) => state === 'running' || state === 'paused').length };
  } catch (error) {
    target.way.dropHypervisor();
    signal.throwIfAborted();
    return { hypervisorError: toBringupError(error, 'hypervisor-failed') };
  }
}
