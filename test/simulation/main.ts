// pnpm simulate --seeds N [--from S]         runs N seeds, from S (default 1) on
// pnpm simulate --seed S [--keep w0,f1]      replays one, or what was left of it when it was shrunk
//   --history   prints everything that happened
//   --first     ends at the first seed that fails
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { SimulationDatabase } from './database.ts';
import { idsOf, keeping, planOf } from './plan.ts';
import { runPlan, shrink } from './run.ts';
import type { SeedResult, Share } from './worker.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    from: { type: 'string', default: '1' },
    keep: { type: 'string' },
    history: { type: 'boolean', default: false },
    first: { type: 'boolean', default: false },
  },
});

if (values.seed !== undefined) await replay(number('seed', values.seed), values.keep?.split(','));
else if (values.seeds !== undefined) await runMany(number('from', values.from), number('seeds', values.seeds));
else {
  console.error('Say --seeds N to run many, or --seed S to replay one.');
  process.exitCode = 2;
}

function number(name: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= 0) return value;
  console.error(`--${name} is a whole number, not '${text}'`);
  process.exit(2);
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
  const count = Math.max(1, Math.min(availableParallelism(), seeds));
  const workers = Array.from({ length: count }, (_, index) => {
    const share: Share = { from: from + index, step: count, count: Math.ceil((seeds - index) / count) };
    return new Worker(new URL('worker.ts', import.meta.url), { workerData: share });
  });
  const ended = workers.map(
    (worker) =>
      new Promise<void>((resolve, reject) => {
        worker.on('message', (result: SeedResult) => {
          done += 1;
          if (result.violations.length > 0) {
            failed.push(result);
            console.log(
              `seed ${result.seed}: ${result.violations.map(({ check, message }) => `${check}: ${message}`).join('\n  ')}`,
            );
            if (values.first) for (const other of workers) void other.terminate();
          }
          if (done % 1_000 === 0) console.log(`${done} seeds, ${perSecond(done, startedAt)} a second`);
        });
        worker.on('error', reject);
        worker.on('exit', () => resolve());
      }),
  );
  await Promise.all(ended);
  const rate = perSecond(done, startedAt);
  for (const { seed, violations } of failed.toSorted((a, b) => a.seed - b.seed).slice(0, 3)) {
    await explain(seed, violations[0]?.check ?? '');
  }
  console.log(`${done} seeds from ${from} on, ${rate} a second`);
  console.log(`${done - failed.length} passed, ${failed.length} failed`);
  if (failed.length > 0 || (done < seeds && !values.first)) process.exitCode = 1;
}

function perSecond(done: number, startedAt: number): string {
  return (done / ((performance.now() - startedAt) / 1000)).toFixed(1);
}

/** Shrinks a seed that fails, and says how to see it again. */
async function explain(seed: number, check: string): Promise<void> {
  const database = await SimulationDatabase.open();
  const smallest = await shrink(planOf(seed), check, database);
  console.log(`\nseed ${seed} breaks '${check}' with no more than this:`);
  console.log(JSON.stringify({ work: smallest.work, faults: smallest.faults }, null, 2));
  console.log(`see it again with: pnpm simulate --seed ${seed} --keep ${idsOf(smallest).join(',')} --history\n`);
}
