import { checkLogs } from './check-logs.ts';
import { checkEnd } from './check-end.ts';
import { checkMachines } from './check-machines.ts';
import { checkReservations } from './check-reservations.ts';
import { checkTurns } from './check-turns.ts';
import { checkWork } from './check-work.ts';
import type { Outcome, Report, Violation } from './outcome.ts';

const checks: Readonly<Record<string, (outcome: Outcome, report: Report) => void>> = {
  reservations: checkReservations,
  turns: checkTurns,
  work: checkWork,
  logs: checkLogs,
  machines: checkMachines,
  end: checkEnd,
};

/** Everything in a run that must not be. */
export function check(outcome: Outcome): Violation[] {
  const violations: Violation[] = [];
  for (const [name, look] of Object.entries(checks)) {
    look(outcome, (message) => violations.push({ check: name, message }));
  }
  return violations;
}
