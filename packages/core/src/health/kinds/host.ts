import type { ShellSession } from '../../contracts/shell.ts';
import { toBringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { readVitals } from '../vitals.ts';
import { plainThresholds, type HealthKind, type Look, type LookOptions } from './kind.ts';

/** Hosts: their shell, whether the hypervisor answers, and the VMs that run. */
export const hostHealth: HealthKind<'host'> = {
  lookMs: limits.healthLookMs,
  probeMs: limits.healthProbeMs,
  thresholds: { ...plainThresholds, maxUtilizationPercent: limits.healthMaxUtilizationPercent },
  async look(options) {
    const { target, view, signal } = options;
    const shell = await target.way.shell(view, { signal });
    const [vitals, hypervisor] = await Promise.all([
      readVitals(shell, view.workspace, { signal }),
      askHypervisor(options, shell),
    ]);
    return { vitals, ...hypervisor };
  },
};

/** A hypervisor gets half of the time of the look: that it hangs must not look as if the host did. */
async function askHypervisor(
  { target, view, signal }: LookOptions<'host'>,
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
