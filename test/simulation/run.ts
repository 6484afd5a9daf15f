import { check } from './checkers.ts';
import type { SimulationDatabase } from './database.ts';
import { hashOf, type HistoryEntry } from './history.ts';
import type { Violation } from './outcome.ts';
import { idsOf, keeping, type Plan } from './plan.ts';
import { Simulation } from './simulation.ts';

/** What came of a plan. */
export interface Result {
  readonly violations: readonly Violation[];
  /** Of everything that happened: the same for the same plan and the same sources. */
  readonly hash: string;
  readonly elapsedMs: number;
  readonly history: readonly HistoryEntry[];
}

/** Runs a plan and looks at what happened. */
export async function runPlan(plan: Plan, database: SimulationDatabase): Promise<Result> {
  const simulation = new Simulation(plan, database);
  const outcome = await simulation.run();
  const violations = check(outcome);
  const events = database.rows('select seq, at, name, subject, data from events order by seq');
  const hash = hashOf(outcome.history.entries, outcome.audit, events);
  await simulation.end();
  return { violations, hash, elapsedMs: outcome.elapsedMs, history: outcome.history.entries };
}

/**
 * Takes away work and faults as long as what failed still fails: half of them at a time, then fewer, then each.
 * The same plan gives the same rest.
 */
export async function shrink(plan: Plan, failed: Violation, database: SimulationDatabase): Promise<Plan> {
  const kind = kindOf(failed);
  let smallest = plan;
  for (let size = Math.ceil(idsOf(plan).length / 2); ; size = Math.ceil(size / 2)) {
    let again = false;
    for (let at = 0; at < idsOf(smallest).length;) {
      const without = keeping(smallest, new Set(idsOf(smallest).toSpliced(at, size)));
      const { violations } = await runPlan(without, database);
      if (violations.some((violation) => kindOf(violation) === kind)) {
        smallest = without;
        again = true;
      } else at += size;
    }
    if (size <= 1 && !again) return smallest;
  }
}

/** What was broken, whatever it was broken for: without names, numbers and what machines said. */
function kindOf({ check, message }: Violation): string {
  return `${check}: ${message.replace(/["[].*$/s, '').replace(/\b[0-9a-z]{26}\b|\d+/g, '')}`;
}
