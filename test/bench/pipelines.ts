import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PostgresServer } from '../fixtures/postgres.ts';
import type { Bench, Measured } from './bench.ts';
import { alternate, printTable } from './bench.ts';

const roundMs = 1_000;
/** Processes of the lab that have nothing to do. */
const idle = 12;

/** What durable pipelines cost beside what their stages do. */
export const bench: Bench = {
  name: 'pipelines',
  describe:
    'durable pipelines whose four stages do nothing, against DBOS Transact on PostgreSQL with workflows of four empty steps (per second)',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-pipelines-'));
    try {
      await using server = await PostgresServer.start();
      await using dbos = await startRunner('../fixtures/dbos.ts', server.url);
      await using ours = await startRunner('../../packages/core/test/support/empty-pipelines.ts', server.url);
      await using embedded = await startRunner(
        '../../packages/core/test/support/empty-pipelines.ts',
        join(folder, 'lab.db'),
      );
      const rates = await alternate({
        dbos1: dbos.perSecond(1),
        ours1: ours.perSecond(1),
        embedded1: embedded.perSecond(1),
        dbos10: dbos.perSecond(10),
        ours10: ours.perSecond(10),
        dbos32: dbos.perSecond(32),
        ours32: ours.perSecond(32),
        embedded32: embedded.perSecond(32),
      });
      printTable(
        ['at a time', 'DBOS', 'on PostgreSQL', 'on SQLite'],
        [
          ['1', rates.dbos1, rates.ours1, rates.embedded1],
          ['10', rates.dbos10, rates.ours10, '-'],
          ['32', rates.dbos32, rates.ours32, rates.embedded32],
        ],
      );
      await using others = new AsyncDisposableStack();
      const program = '../../packages/core/test/support/started-work.ts';
      for (let at = 0; at < idle; at += 1) others.use(await startRunner(program, server.url, 'notification'));
      const { besideIdle } = await alternate({ besideIdle: ours.perSecond(1) });
      console.log(
        `${besideIdle.toPrecision(3)} on PostgreSQL one at a time beside ${idle} processes that have nothing to do\n`,
      );
      return {
        vs_dbos_1: rates.ours1 / rates.dbos1,
        vs_dbos_10: rates.ours10 / rates.dbos10,
        vs_dbos_32: rates.ours32 / rates.dbos32,
        sqlite_vs_dbos_1: rates.embedded1 / rates.dbos1,
        sqlite_vs_dbos_32: rates.embedded32 / rates.dbos32,
        beside_12_idle: besideIdle / rates.ours1,
      };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

interface Runner extends AsyncDisposable {
  perSecond(together: number): Measured;
}

/** A process of its own that runs pipelines when it is told to. */
async function startRunner(program: string, ...args: readonly string[]): Promise<Runner> {
  const child = fork(join(import.meta.dirname, program), args, { execArgv: process.execArgv });
  await once(child, 'message');
  return {
    perSecond: (together) => async () => {
      const answer = once(child, 'message');
      child.send({ together, ms: roundMs });
      return ((await answer) as [number])[0];
    },
    async [Symbol.asyncDispose]() {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}
