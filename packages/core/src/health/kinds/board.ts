import { answersOnConsole } from '../../consoles/console-answers.ts';
import { isBringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { PowerState } from '../../model/power.ts';
import { readVitals } from '../vitals.ts';
import { plainThresholds, type HealthKind, type Look, type LookOptions } from './kind.ts';

/** Boards: their shell, or their serial console where they have no other, and their outlet. */
export const boardHealth: HealthKind<'board'> = {
  lookMs: limits.healthBoardLookMs,
  probeMs: limits.healthBoardProbeMs,
  thresholds: {
    ...plainThresholds,
    maxStoragePercent: limits.healthMaxStoragePercent,
    maxResponseTimeMs: limits.healthMaxResponseTimeMs,
  },
  async look(options) {
    const [answer, powerStatus] = await Promise.all([askBoard(options), options.full ? askOutlet(options) : undefined]);
    return { ...answer, ...(powerStatus !== undefined && { powerStatus }) };
  },
};

async function askBoard({ target, view, connectors, signal }: LookOptions<'board'>): Promise<Look> {
  if (view.hostname !== undefined) {
    const shell = await target.way.shell({ ...view, hostname: view.hostname }, { signal });
    return { vitals: await readVitals(shell, undefined, { signal }) };
  }
  try {
    await using console = await connectors.openConsole(view, { signal });
    await answersOnConsole(console, signal);
  } catch (error) {
    // Somebody else has it open, which is not for us to disturb.
    if (!isBringupError(error, 'console-busy')) throw error;
  }
  return {};
}

/** An outlet that can't be asked says nothing about the board. */
async function askOutlet({ view, connectors, signal }: LookOptions<'board'>): Promise<PowerState> {
  if (view.powerControl.method === 'manual') return 'unknown';
  const call = { signal, timeoutMs: limits.healthBoardProbeMs / 2 };
  try {
    await using outlet = await connectors.openPower(view.powerControl, call);
    return await outlet.state(call);
  } catch {
    return 'unknown';
  }
}
