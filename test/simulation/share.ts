import { SimulationDatabase } from './database.ts';
import type { Violation } from './outcome.ts';
import { planOf } from './plan.ts';
import { runPlan } from './run.ts';

/** Which seeds a thread runs: every `step`-th from `from` on, `count` of them. */
export interface Share {
  readonly from: number;
  readonly step: number;
  readonly count: number;
}

/** What is told of a seed. */
export interface SeedResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

/** Runs seeds one after the other, as long as `take` gives true for what came of the last. */
export async function runShare({ from, step, count }: Share, take: (result: SeedResult) => boolean): Promise<void> {
  const database = await SimulationDatabase.open();
  for (let index = 0; index < count; index += 1) {
    const seed = from + index * step;
    const { violations } = await runPlan(planOf(seed), database);
    if (!take({ seed, violations })) return;
  }
}
