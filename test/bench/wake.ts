import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLab, sqlite, vmRequest, type Lab } from '@bringup/core';
import { memoryArtifactStorage } from '@bringup/core/testing';
import { startBullMq } from '../fixtures/bullmq.ts';
import { populate } from '../fixtures/pool-on-disk.ts';
import type { Bench } from './bench.ts';
import { alternate, median, percentile, printTable } from './bench.ts';

const perRound = 50;
const request = vmRequest({ architecture: 'arm64' });

/** How soon a release is a grant for whoever waits. */
export const bench: Bench = {
  name: 'wake',
  describe:
    'from a release to the grant of a waiting request, durable, against BullMQ from adding a job to its start (ms)',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-wake-'));
    const file = join(folder, 'lab.db');
    const open = (): Promise<Lab> =>
      createLab({ store: sqlite({ path: file }), artifacts: memoryArtifactStorage(), roles: [] });
    try {
      await (await open())[Symbol.asyncDispose]();
      populate(file, 1, 1);
      await using lab = await open();
      const across: number[] = [];
      {
        await using waiter = await startWaiter(file);
        for (let i = 0; i < 2 * perRound; i += 1) across.push(await acrossMs(lab, waiter));
      }
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
        ],
      );
      return { in_process_vs_bullmq: ms.bullMq / ms.ours, cross_process_p50_ms: percentile(across, 50) };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

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

interface Waiter extends AsyncDisposable {
  /** Has the other process wait for the host; gives the time of the grant. */
  ask(): Promise<bigint>;
}

async function startWaiter(file: string): Promise<Waiter> {
  const child = fork(join(import.meta.dirname, '../fixtures/wake-waiter.ts'), [file], { execArgv: process.execArgv });
  await once(child, 'message');
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
