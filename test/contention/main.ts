// pnpm contend [--attempts 50000] [--store sqlite|postgres] [--processes 8] [--boards 16] [--seed 1]
//
// Several processes try to get the same boards, on both stores unless one is named. Overlaps are looked for by what the
// processes themselves write down on the file system, and by the history that the lab keeps.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createLab } from '@bringup/core';
import { memoryArtifactStorage } from '@bringup/core/testing';
import { boardsInStore } from '../fixtures/boards-in-store.ts';
import { number, storesOf } from '../fixtures/command-line.ts';
import { PostgresServer } from '../fixtures/postgres.ts';
import { storeOf } from '../fixtures/stores.ts';
import type { Orders, Outcome } from './contender.ts';
import { overlapsIn } from './history.ts';

const { values } = parseArgs({
  options: {
    attempts: { type: 'string', default: '50000' },
    store: { type: 'string' },
    processes: { type: 'string', default: '8' },
    boards: { type: 'string', default: '16' },
    seed: { type: 'string', default: '1' },
  },
});
const attempts = number('attempts', values.attempts, 1);
const processes = number('processes', values.processes, 1);
const boards = number('boards', values.boards, 1);
const seed = number('seed', values.seed);
const stores = storesOf(values.store);

const folder = await mkdtemp(join(tmpdir(), 'bringup-contention-'));
try {
  for (const store of stores) {
    await using stack = new AsyncDisposableStack();
    const place = store === 'sqlite' ? join(folder, 'lab.db') : stack.use(await PostgresServer.start()).url;
    await contend(store, place);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function contend(store: string, place: string): Promise<void> {
  const floor = join(folder, `${store}-floor`);
  await mkdir(floor);
  await boardsInStore(storeOf(place), boards ?? 16);
  const startedAt = performance.now();
  const outcomes = await Promise.all(
    Array.from({ length: processes ?? 8 }, (_, index) =>
      contender({
        store: place,
        name: `contender-${index}`,
        seed: (seed ?? 1) * 1_000 + index,
        attempts: Math.ceil((attempts ?? 50_000) / (processes ?? 8)),
        together: Math.ceil((2 * (boards ?? 16)) / (processes ?? 8)),
        floor,
      }),
    ),
  );
  const seconds = (performance.now() - startedAt) / 1_000;
  await using lab = await createLab({ store: storeOf(place), artifacts: memoryArtifactStorage(), roles: [] });
  const left = (await lab.reservations.list()).length;
  const history = await overlapsIn(lab);
  const sum = (of: (outcome: Outcome) => number): number => outcomes.reduce((total, outcome) => total + of(outcome), 0);
  const violations = [...outcomes.flatMap((outcome) => outcome.violations), ...history.violations];
  if (left > 0) violations.push(`${left} reservations are left`);
  // More: one that comes when its contender has just given up waiting is given back unseen.
  if (history.grants < sum(({ granted }) => granted)) {
    violations.push(`the history has ${history.grants} grants, the contenders ${sum(({ granted }) => granted)}`);
  }
  for (const violation of violations.slice(0, 20)) console.log(violation);
  console.log(
    `${store}: ${sum((outcome) => outcome.attempts)} attempts by ${processes} processes on ${boards} boards in ${seconds.toFixed(1)} s: ` +
      `${sum(({ granted }) => granted)} granted (${sum(({ waitedFor }) => waitedFor)} after waiting), ` +
      `${sum(({ staleRefused }) => staleRefused)} stale claims refused, ${violations.length} violations`,
  );
  if (violations.length > 0) process.exitCode = 1;
}

async function contender(orders: Orders): Promise<Outcome> {
  const child = fork(join(import.meta.dirname, 'contender.ts'), [JSON.stringify(orders)], {
    execArgv: process.execArgv,
  });
  const failed = once(child, 'exit').then(([status]) => Promise.reject(new Error(`a contender ended with ${status}`)));
  failed.catch(() => undefined);
  const [outcome] = (await Promise.race([once(child, 'message'), failed])) as [Outcome];
  await failed.catch(() => undefined);
  return outcome;
}
