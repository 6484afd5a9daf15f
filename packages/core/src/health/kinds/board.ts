import { answersOnConsole } from '../../consoles/console-answers.ts';
import { isBringupError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { PowerState } from '../../model/power.ts';
import type { Board } from '../../model/resource.ts';
import { readVitals } from '../vitals.ts';
import { plainThresholds, type HealthKind, type Look, type LookCall } from './kind.ts';

/** Boards: their shell, or their serial console where they have no other, and their outlet. */
export const boardHealth: HealthKind<'board'> = {
  lookMs: limits.healthBoardLookMs,
  probeMs: limits.healthBoardProbeMs,
  thresholds: {
    ...plainThresholds,
    maxStoragePercent: limits.healthMaxStoragePercent,
    maxResponseTimeMs: limits.healthMaxResponseTimeMs,
  },
  async look(call) {
    if (!call.full) return askBoard(call);
    const [answer, powerStatus] = await Promise.all([askBoard(call), askOutlet(call)]);
    return { ...answer, powerStatus };
  },
};

async function askBoard(call: LookCall<Board>): Promise<Look> {
  const { target, view, connectors, signal } = call;
  if (hasShell(view)) {
    const shell = await target.way.shell(view, call);
    return { vitals: await readVitals(shell, undefined, call) };
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

function hasShell(view: Board): view is Board & { readonly hostname: string } {
  return view.hostname !== undefined;
}

/** An outlet that can't be asked says nothing about the board. */
async function askOutlet({ view, connectors, signal }: LookCall<Board>): Promise<PowerState> {
  if (view.powerControl.method === 'manual') return 'unknown';
  const call = { signal, timeoutMs: limits.healthBoardProbeMs / 2 };
  try {
    await using outlet = await connectors.openPower(view.powerControl, call);
    return await outlet.state(call);
  } catch {
    return 'unknown';
  }
}
