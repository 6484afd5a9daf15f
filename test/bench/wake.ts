import { fork, type ChildProcess } from 'node:child_process';
import { on, once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { boardRequest, createLab, type Lab } from '@bringup/core';
import { memoryArtifactStorage } from '@bringup/core/testing';
import { startBullMq } from '../fixtures/bullmq.ts';
import { boardsInStore } from '../fixtures/boards-in-store.ts';
import { graphile, type GraphileWorker } from '../fixtures/graphile-worker.ts';
import { peerPackages } from '../fixtures/peer-package.ts';
import { PostgresServer } from '../fixtures/postgres.ts';
import { storeOf } from '../fixtures/stores.ts';
import type { Bench } from './bench.ts';
import { alternate, median, percentile, printTable } from './bench.ts';

const perRound = 50;
const request = boardRequest({ architecture: 'arm64' });

/** How soon a release is a grant for whoever waits. */
export const bench: Bench = {
  name: 'wake',
  describe:
    'from a release to the grant of a waiting request, durable, against BullMQ and, on PostgreSQL, graphile-worker from adding a job to its start (ms)',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-wake-'));
    const file = join(folder, 'lab.db');
    try {
      await boardsInStore(storeOf(file), 1);
      await using lab = await openLab(file);
      const across: number[] = [];
      {
        await using waiter = await startWaiter(file);
        for (let i = 0; i < 2 * perRound; i += 1) across.push(await acrossMs(lab, waiter));
      }
      const postgres = await onPostgres();
      await using bullMq = await startBullMq();
      const ms = await alternate({
        ours: () => medianOf(() => withinMs(lab)),
        bullMq: () => medianOf(() => bullMq.startMs()),
      });
      printTable(
        ['what', 'p50 ms'],
        [
          ['release to grant, one process', ms.ours],
          ['BullMQ, add to start, one process', ms.bullMq],
          ['release to grant, between two processes', percentile(across, 50)],
          ['the same, p95', percentile(across, 95)],
          ['the same, on PostgreSQL', postgres.granted],
          ['work queued to begun, between two processes, on PostgreSQL', postgres.begun],
          ['graphile-worker, add to start, between two processes', postgres.graphile],
        ],
      );
      return {
        in_process_vs_bullmq: ms.bullMq / ms.ours,
        cross_process_p50_ms: percentile(across, 50),
        postgres_vs_graphile: postgres.graphile / postgres.granted,
        postgres_work_vs_graphile: postgres.graphile / postgres.begun,
      };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** All on one server, each between two processes, which hear nothing of the others. */
async function onPostgres(): Promise<{ readonly granted: number; readonly begun: number; readonly graphile: number }> {
  await using server = await PostgresServer.start();
  await boardsInStore(storeOf(server.url), 1);
  await using lab = await openLab(server.url);
  await using waiter = await startWaiter(server.url);
  await using work = await startWork(await server.addDatabase('work'));
  await using graphile = await startGraphile(await server.addDatabase('graphile'));
  return await alternate({
    granted: () => medianOf(() => acrossMs(lab, waiter)),
    begun: () => medianOf(() => work.startMs()),
    graphile: () => medianOf(() => graphile.startMs()),
  });
}

const openLab = (place: string): Promise<Lab> =>
  createLab({ store: storeOf(place), artifacts: memoryArtifactStorage(), roles: [] });

interface Starts extends AsyncDisposable {
  /** From queueing something to its start. */
  startMs(): Promise<number>;
}

/** One process queues work, another does it. */
async function startWork(url: string): Promise<Starts> {
  const program = '../../packages/core/test/support/started-work.ts';
  const [queueing, running] = [await forked(program, url), await forked(program, url, 'build')];
  const [queuer, runner] = [messages(queueing), messages(running)];
  return {
    async startMs() {
      queueing.send('queue');
      const queued = BigInt(await queuer());
      const started = BigInt(await runner());
      // The next one finds nobody still at this one.
      await queuer();
      return Number(started - queued) / 1e6;
    },
    async [Symbol.asyncDispose]() {
      for (const child of [queueing, running]) {
        const ended = once(child, 'exit');
        child.disconnect();
        await ended;
      }
    },
  };
}

async function startGraphile(url: string): Promise<Starts> {
  const { makeWorkerUtils } = (await peerPackages(...graphile))('graphile-worker') as GraphileWorker;
  const utils = await makeWorkerUtils({ connectionString: url });
  await utils.migrate();
  const child = await forked('graphile-worker.ts', url);
  const said = messages(child);
  return {
    async startMs() {
      const began = process.hrtime.bigint();
      await utils.addJob('task', {});
      const started = BigInt(await said());
      await said();
      return Number(started - began) / 1e6;
    },
    async [Symbol.asyncDispose]() {
      await utils.release();
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

async function medianOf(measure: () => Promise<number>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < perRound; i += 1) times.push(await measure());
  return median(times);
}

async function withinMs(lab: Lab): Promise<number> {
  const held = await lab.reservations.request(request, { holder: 'holder' });
  const waiting = lab.reservations.request(request, { holder: 'waiter' });
  await untilWaiting(lab);
  const began = performance.now();
  void lab.reservations.release(held.id);
  const { id } = await waiting;
  const ms = performance.now() - began;
  await lab.reservations.release(id);
  return ms;
}

async function acrossMs(lab: Lab, waiter: Waiter): Promise<number> {
  const held = await lab.reservations.request(request, { holder: 'holder' });
  const granted = waiter.ask();
  await untilWaiting(lab);
  const began = process.hrtime.bigint();
  await lab.reservations.release(held.id);
  return Number((await granted) - began) / 1e6;
}

async function untilWaiting(lab: Lab): Promise<void> {
  while ((await lab.reservations.listWaiting()).length === 0) await new Promise(setImmediate);
}

/** What a process says from now on, one after the other. */
function messages(child: ChildProcess): () => Promise<string> {
  const said = on(child, 'message');
  return async () => ((await said.next()).value as [string])[0];
}

interface Waiter extends AsyncDisposable {
  /** Has the other process wait for the host; gives the time of the grant. */
  ask(): Promise<bigint>;
}

/** A process that is ready. */
async function forked(program: string, ...args: readonly string[]): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, '../fixtures', program), args, { execArgv: process.execArgv });
  await once(child, 'message');
  return child;
}

async function startWaiter(place: string): Promise<Waiter> {
  const child = await forked('wake-waiter.ts', place);
  return {
    async ask() {
      const answer = once(child, 'message');
      child.send('ask');
      const [grantedAt] = (await answer) as [string];
      return BigInt(grantedAt);
    },
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}
