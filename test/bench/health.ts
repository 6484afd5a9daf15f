import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { createLab, sqlite, type Lab } from '@bringup/core';
import { memoryArtifactStorage } from '@bringup/core/testing';
import { printTable, type Bench } from './bench.ts';
import { simulatedMachines } from './simulated-machines.ts';

const resources = { servers: 2_000, hosts: 1_000, boards: 2_000 } as const;
/** Every resource was looked at several times, and the connections are open. */
const startUpMs = 30_000;
const windowMs = 60_000;

/** What watching a large lab costs the process that does it. */
export const bench: Bench = {
  name: 'health',
  describe: '5,000 simulated build servers, hosts and boards watched by one process at the default interval',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-'));
    const machines = simulatedMachines();
    const lab = await createLab({
      store: sqlite({ path: join(folder, 'lab.db') }),
      artifacts: memoryArtifactStorage(),
      connectors: machines.connectors,
      monitor: false,
    });
    try {
      await register(lab);
      await lab.health.startMonitoring();
      await setTimeout(startUpMs);
      const figures = await measure(() => machines.looks);
      printTable(
        ['5,000 resources', 'looks per second', '% of a core', 'RSS, MB'],
        [[`${windowMs / 1000} s`, figures.looksPerSecond, figures.corePercent, figures.rssMb]],
      );
      return { core_percent: figures.corePercent, rss_mb: figures.rssMb };
    } finally {
      await lab[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function register(lab: Lab): Promise<void> {
  const each = async (count: number, add: (index: number) => Promise<unknown>): Promise<void> => {
    for (let at = 0; at < count; at += 100) {
      await Promise.all(Array.from({ length: Math.min(100, count - at) }, (_, index) => add(at + index)));
    }
  };
  await each(resources.servers, (n) => lab.buildServers.registerServer({ hostname: `server${n}` }));
  await each(resources.hosts, (n) => lab.hosts.registerHost({ hostname: `host${n}` }));
  await each(resources.boards, (n) =>
    lab.boards.registerBoard({ name: `board${n}`, hostname: `board${n}`, boardType: 'simulated' }),
  );
}

/** CPU time and memory of this process, the simulated machines included. */
async function measure(
  looks: () => number,
): Promise<{ readonly corePercent: number; readonly rssMb: number; readonly looksPerSecond: number }> {
  const looksBefore = looks();
  const cpuBefore = process.cpuUsage();
  const beganAt = performance.now();
  let rssBytes = 0;
  while (performance.now() - beganAt < windowMs) {
    await setTimeout(1_000);
    rssBytes = Math.max(rssBytes, process.memoryUsage.rss());
  }
  const elapsedMs = performance.now() - beganAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  return {
    corePercent: ((user + system) / 1000 / elapsedMs) * 100,
    rssMb: rssBytes / 1024 / 1024,
    looksPerSecond: ((looks() - looksBefore) / elapsedMs) * 1000,
  };
}
