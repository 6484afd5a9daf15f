import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLab, sqlite, type Lab } from '@bringup/core';
import { memoryArtifactStorage } from '@bringup/core/testing';
import type { WatchingCost } from '../fixtures/health-watcher.ts';
import { simulatedMachines } from '../fixtures/simulated-machines.ts';
import { printTable, type Bench } from './bench.ts';
import { buildProgram, reportOf } from './program.ts';

const resources = { servers: 2_000, hosts: 1_000, boards: 2_000 } as const;
const total = resources.servers + resources.hosts + resources.boards;
/** Every resource was looked at several times, the connections are open, and the memory has found its size. */
const settleMs = 60_000;
const windowMs = 60_000;

/**
 * Shown beside Node's defaults, with which V8 lets the space for new objects grow to some 130 MB on a
 * large machine, nearly all of it empty.
 */
const boundedNursery = '--max-semi-space-size=8';

/** What watching a large lab costs the process that does it. */
export const bench: Bench = {
  name: 'health',
  describe: '5,000 simulated build servers, hosts and boards watched by one process at the default interval',
  async run() {
    const program = await buildProgram('health-watcher');
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-'));
    try {
      const file = join(folder, 'lab.db');
      await register(file);
      const plain = await watch(program, file, []);
      const bounded = await watch(program, file, [boundedNursery]);
      printTable(
        ['process', 'resources', 'looks per second', '% of a core', 'RSS, MB'],
        [row('node', plain), row(`node ${boundedNursery}`, bounded)],
      );
      return { core_percent: plain.corePercent, rss_mb: plain.rssMb, rss_mb_bounded_nursery: bounded.rssMb };
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

/** Fills a database, so that the process that is measured has nothing to do but watch. */
async function register(file: string): Promise<void> {
  const { connectors } = simulatedMachines();
  const store = sqlite({ path: file });
  await using lab = await createLab({ store, artifacts: memoryArtifactStorage(), connectors, roles: [] });
  await each(resources.servers, (n) => lab.buildServers.registerServer({ hostname: `server${n}` }));
  await each(resources.hosts, (n) => lab.hosts.registerHost({ hostname: `host${n}` }));
  await each(resources.boards, (n) => lab.boards.registerBoard(board(n)));
}

function board(n: number): Parameters<Lab['boards']['registerBoard']>[0] {
  return { name: `board${n}`, hostname: `board${n}`, boardType: 'simulated' };
}

async function each(count: number, add: (index: number) => Promise<unknown>): Promise<void> {
  for (let at = 0; at < count; at += 100) {
    await Promise.all(Array.from({ length: Math.min(100, count - at) }, (_, index) => add(at + index)));
  }
}

function row(name: string, { watched, looksPerSecond, corePercent, rssMb }: WatchingCost): (string | number)[] {
  return [name, watched, looksPerSecond, corePercent, rssMb];
}

async function watch(program: string, file: string, flags: string[]): Promise<WatchingCost> {
  const cost = await reportOf<WatchingCost>(program, [file, `${settleMs}`, `${windowMs}`], flags);
  if (cost.watched < total) throw new Error(`only ${cost.watched} of ${total} resources were looked at`);
  return cost;
}
