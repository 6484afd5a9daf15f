import { parentPort, workerData } from 'node:worker_threads';
import type { Violation } from './outcome.ts';
import { SimulationDatabase } from './database.ts';
import { planOf } from './plan.ts';
import { runPlan } from './run.ts';

/** Which seeds a worker runs: every `step`-th from `from` on, `count` of them. */
export interface Share {
  readonly from: number;
  readonly step: number;
  readonly count: number;
}

/** What a worker tells of a seed. */
export interface SeedResult {
  readonly seed: number;
  readonly violations: readonly Violation[];
}

const { from, step, count } = workerData as Share;
const database = await SimulationDatabase.open();
for (let index = 0; index < count; index += 1) {
  const seed = from + index * step;
  const { violations } = await runPlan(planOf(seed), database);
  parentPort?.postMessage({ seed, violations } satisfies SeedResult);
}
