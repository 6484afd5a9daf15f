// pnpm simulate --seeds N [--from S]         runs N seeds, from S (default 1) on
// pnpm simulate --seed S [--keep w0,f1]      replays one, or what was left of it when it was shrunk
// pnpm simulate --bugs [--bug NAME]          finds, shrinks and replays each of the bugs in bugs/
//   --history   prints everything that happened
//   --first     ends at the first seed that fails
//   --workers N uses so many threads, not one for each core
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { number } from '../fixtures/command-line.ts';
import { catchBugs } from './bugs.ts';
import { SimulationDatabase } from './database.ts';
import { idsOf, keeping, planOf } from './plan.ts';
import { runPlan, shrink } from './run.ts';
import type { Violation } from './outcome.ts';
import { runShare, type SeedResult, type Share } from './share.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    keep: { type: 'string' },
    history: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
    workers: { type: 'string', default: String(availableParallelism()) },
    bugs: { type: 'boolean', default: false },
    bug: { type: 'string' },
  },
});

if (values.seed !== undefined) await replay(number('seed', values.seed), values.keep?.split(','));
else if (values.seeds !== undefined) await runMany(number('from', values.from), number('seeds', values.seeds, 1));
else if (values.bugs) {
  if (!(await catchBugs(values.bug))) process.exitCode = 1;
} else {
  console.error('Say --seeds N to run many, --seed S to replay one, or --bugs to see that bugs are found.');
  process.exitCode = 2;
}

/** Runs one plan twice, to show that it is the same, and says what it found. */
async function replay(seed: number, keep: readonly string[] | undefined): Promise<void> {
  const database = await SimulationDatabase.open();
  const whole = planOf(seed);
  const plan = keep === undefined ? whole : keeping(whole, new Set(keep));
  const { violations, hash, elapsedMs, history } = await runPlan(plan, database);
  const again = await runPlan(plan, database);
  console.log(JSON.stringify(plan, null, 2));
  if (values.history) for (const entry of history) console.log(JSON.stringify(entry));
  for (const { check, message } of violations) console.log(`${check}: ${message}`);
  console.log(
    `seed ${seed}: ${violations.length} violations in ${elapsedMs / 1000} s of simulated time; history ${hash}`,
  );
  if (again.hash !== hash) console.log(`not the same when it was run again: ${again.hash}`);
  if (violations.length > 0 || again.hash !== hash) process.exitCode = 1;
}

async function runMany(from: number, seeds: number): Promise<void> {
  const startedAt = performance.now();
  const failed: SeedResult[] = [];
  let done = 0;
  const workers = Math.max(1, Math.min(number('workers', values.workers, 1), seeds));
  /** Gives whether to go on. */
  const take = (result: SeedResult): boolean => {
    done += 1;
    if (done % 1_000 === 0) console.log(`${done} seeds, ${perSecond(done, startedAt)} a second`);
    if (result.violations.length === 0) return true;
    failed.push(result);
    const told = result.violations.map(({ check, message }) => `${check}: ${message}`).join('\n  ');
    console.log(`seed ${result.seed}: ${told}`);
    return !values.first;
  };
  if (workers === 1) await runShare({ from, step: 1, count: seeds }, take);
  else await shareOut(from, seeds, workers, take);
  const rate = perSecond(done, startedAt);
  for (const { seed, violations } of failed.toSorted((a, b) => a.seed - b.seed).slice(0, 3)) {
    for (const violation of violations.slice(0, 1)) await explain(seed, violation);
  }
  console.log(`${done} seeds from ${from} on, ${rate} a second`);
  console.log(`${done - failed.length} passed, ${failed.length} failed`);
  if (failed.length > 0 || (done < seeds && !values.first)) process.exitCode = 1;
}

/** Runs seeds in several threads, until one does not want to go on. */
async function shareOut(
  from: number,
  seeds: number,
  count: number,
  take: (result: SeedResult) => boolean,
): Promise<void> {
  const workers = Array.from({ length: count }, (_, index) => {
    const share: Share = { from: from + index, step: count, count: Math.ceil((seeds - index) / count) };
    return new Worker(new URL('worker.ts', import.meta.url), { workerData: share });
  });
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise<void>((resolve, reject) => {
          worker.on('message', (result: SeedResult) => {
            if (take(result)) return;
            for (const other of workers) void other.terminate();
          });
          worker.on('error', reject);
          worker.on('exit', () => resolve());
        }),
    ),
  );
}

function perSecond(done: number, startedAt: number): string {
  return (done / ((performance.now() - startedAt) / 1000)).toFixed(1);
}

/** Shrinks a seed that fails, and says how to see it again. */
async function explain(seed: number, failed: Violation): Promise<void> {
  const database = await SimulationDatabase.open();
  const whole = planOf(seed);
  const smallest = await shrink(whole, failed, database);
  const { violations } = await runPlan(smallest, database);
  console.log(`\nseed ${seed} breaks '${failed.check}' with no more than this:`);
  console.log(JSON.stringify({ work: smallest.work, faults: smallest.faults }, null, 2));
  console.log(`shrunk from ${idsOf(whole).length} to ${idsOf(smallest).length} pieces of work and faults`);
  for (const { check, message } of violations) console.log(`${check}: ${message}`);
  console.log(`see it again with: pnpm simulate --seed ${seed} --keep ${idsOf(smallest).join(',')} --history\n`);
}
