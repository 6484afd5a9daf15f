// pnpm bench          lists the benchmarks
// pnpm bench NAME     runs one; its last line is {"bench":NAME,"results":{KEY:number}}
import { readdir } from 'node:fs/promises';
import type { Bench } from './bench.ts';
import { rounded } from './bench.ts';

const benches = await load();
const name = process.argv[2];
const chosen = benches.filter((bench) => bench.name === name);
if (name === undefined) list();
else if (chosen.length === 0) refuse(name);
else await run(name, chosen);

/** Every other file of this folder that exports a `bench` is one. */
async function load(): Promise<Bench[]> {
  const files = (await readdir(import.meta.dirname))
    .filter((file) => file.endsWith('.ts') && file !== 'main.ts')
    .toSorted();
  const modules = await Promise.all(files.map((file) => import(`./${file}`) as Promise<{ readonly bench?: Bench }>));
  return modules.flatMap((module) => module.bench ?? []);
}

function list(): void {
  for (const bench of benches) console.log(`${bench.name.padEnd(12)} ${bench.describe}`);
  console.log('\nRun one with: pnpm bench NAME');
}

function refuse(unknown: string): void {
  console.error(
    `There is no benchmark "${unknown}". There are: ${[...new Set(benches.map((bench) => bench.name))].join(', ')}.`,
  );
  process.exitCode = 1;
}

async function run(title: string, parts: readonly Bench[]): Promise<void> {
  const results: Record<string, number> = {};
  for (const part of parts) {
    console.log(`${title}: ${part.describe}\n`);
    for (const [key, value] of Object.entries(await part.run())) results[key] = rounded(value);
  }
  console.log(JSON.stringify({ bench: title, results }));
}
