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

/** Takes away work and faults as long as the first check that failed still fails. The same plan gives the same rest. */
export async function shrink(plan: Plan, failed: string, database: SimulationDatabase): Promise<Plan> {
  let smallest = plan;
  for (let again = true; again;) {
    again = false;
    for (const id of idsOf(smallest)) {
      const without = keeping(smallest, new Set(idsOf(smallest).filter((other) => other !== id)));
      const { violations } = await runPlan(without, database);
      if (!violations.some(({ check: name }) => name === failed)) continue;
      smallest = without;
      again = true;
    }
  }
  return smallest;
}
