import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createLab, sqlite, type Lab, type VmRequirements } from '@bringup/core';
import { memoryArtifactStorage } from '@bringup/core/testing';
import type { Bench, Measured } from './bench.ts';
import { alternate, median, printTable } from './bench.ts';
import { populate } from '../fixtures/pool-on-disk.ts';

const roundMs = 800;
const callers = 32;
const requirements: VmRequirements = {
  architecture: 'arm64',
  minCpuCores: 4,
  minMemoryMb: 4_096,
  minStorageGb: 20,
  requireKvm: true,
};

/** A lab on disk with a pool of that many hosts, and how long single operations on it took. */
interface Pool extends AsyncDisposable {
  readonly lab: Lab;
  readonly file: string;
  readonly times: number[];
}

/** Choosing, reserving and releasing a resource, against what the disk can do and against loading the pool. */
export const bench: Bench = {
  name: 'selection',
  describe:
    'select + reserve + release of a host, durable, per commit, against overwriting 4 KiB + fdatasync; and against loading the pool',
  async run() {
    const folder = await mkdtemp(join(tmpdir(), 'bringup-bench-selection-'));
    try {
      await using small = await openPool(folder, 1_000);
      await using middle = await openPool(folder, 10_000);
      await using large = await openPool(folder, 100_000);
      const perSecond = await alternate({
        disk: async () => overwrites(join(folder, 'overwritten')),
        small: one(small),
        middle: one(middle),
        large: one(large),
        together: commitsPerSecond(large, callers),
        loadAll: loadAll(large),
      });
      // An operation is two commits: the reservation and the release.
      const byKey = {
        vs_fdatasync_1k: perSecond.small / perSecond.disk,
        vs_fdatasync_10k: perSecond.middle / perSecond.disk,
        vs_fdatasync_100k: perSecond.large / perSecond.disk,
        concurrent32_vs_fdatasync_100k: perSecond.together / perSecond.disk,
        vs_load_all_100k: perSecond.large / 2 / perSecond.loadAll,
        growth_1k_100k: median(large.times) / median(small.times),
      };
      printTable(
        ['what', 'per second', 'ratio'],
        [
          ['4 KiB overwritten + fdatasync', perSecond.disk, 1],
          ['commits, 1,000 hosts', perSecond.small, byKey.vs_fdatasync_1k],
          ['commits, 10,000 hosts', perSecond.middle, byKey.vs_fdatasync_10k],
          ['commits, 100,000 hosts', perSecond.large, byKey.vs_fdatasync_100k],
          [`commits, 100,000 hosts, ${callers} callers`, perSecond.together, byKey.concurrent32_vs_fdatasync_100k],
          ['operations, 100,000 hosts', perSecond.large / 2, byKey.vs_load_all_100k],
          ['loading 100,000 hosts and scoring them', perSecond.loadAll, 1],
        ],
      );
      return byKey;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function openPool(folder: string, hosts: number): Promise<Pool> {
  const file = join(folder, `${hosts}.db`);
  const open = (): Promise<Lab> =>
    createLab({ store: sqlite({ path: file }), artifacts: memoryArtifactStorage(), roles: [] });
  await (await open())[Symbol.asyncDispose]();
  populate(file, hosts);
  const lab = await open();
  return { lab, file, times: [], [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose]() };
}

async function operate({ selection }: Lab): Promise<void> {
  const { success, reservationId } = await selection.hosts.selectHost(requirements, { holder: 'bench' });
  if (!success || reservationId === undefined) throw new Error('no host was reserved');
  await selection.hosts.releaseResources(reservationId);
}

/** Commits a second of one caller. */
function one({ lab, times }: Pool): Measured {
  return async () => {
    const began = performance.now();
    let done = 0;
    for (let now = began; now - began < roundMs; done += 1) {
      await operate(lab);
      const after = performance.now();
      times.push(after - now);
      now = after;
    }
    return (2 * done * 1_000) / (performance.now() - began);
  };
}

/** Commits a second of several callers at once. */
function commitsPerSecond({ lab }: Pool, together: number): Measured {
  return async () => {
    const began = performance.now();
    let done = 0;
    const caller = async (): Promise<void> => {
      for (; performance.now() - began < roundMs; done += 1) await operate(lab);
    };
    await Promise.all(Array.from({ length: together }, caller));
    return (2 * done * 1_000) / (performance.now() - began);
  };
}

/** How often a second the pool can be loaded and its best host found in JavaScript. */
function loadAll({ file }: Pool): Measured {
  return async () => {
    using database = new DatabaseSync(file, { readOnly: true });
    const began = performance.now();
    const withKvm = new Set(
      database
        .prepare("select resource_id from traits where trait = 'kvm'")
        .all()
        .map((row) => row['resource_id']),
    );
    const architecture = new Set(
      database
        .prepare("select architectures from architecture_sets where architecture = 'arm64'")
        .all()
        .map((row) => row['architectures']),
    );
    const fitting = database
      .prepare("select * from resources where kind = 'host'")
      .all()
      .filter(
        (row) =>
          architecture.has(row['architectures'] ?? null) &&
          row['open'] === 1 &&
          withKvm.has(row['id'] ?? null) &&
          Number(row['slots_total']) > Number(row['slots_used']) &&
          Number(row['cpu_total']) - Number(row['cpu_used']) >= 4 &&
          Number(row['memory_mb_total']) - Number(row['memory_mb_used']) >= 4_096 &&
          Number(row['storage_gb_total']) - Number(row['storage_gb_used']) >= 20,
      )
      .toSorted((a, b) => Number(a['load']) - Number(b['load']));
    if (fitting[0] === undefined) throw new Error('no host fits');
    return 1_000 / (performance.now() - began);
  };
}

/** How often a second the disk overwrites 4 KiB durably. */
function overwrites(path: string): number {
  const fd = openSync(path, 'w+');
  try {
    const block = Buffer.alloc(4_096, 1);
    writeSync(fd, block, 0, block.length, 0);
    fdatasyncSync(fd);
    const began = performance.now();
    let done = 0;
    for (; performance.now() - began < roundMs; done += 1) {
      block[0] = done;
      writeSync(fd, block, 0, block.length, 0);
      fdatasyncSync(fd);
    }
    return (done * 1_000) / (performance.now() - began);
  } finally {
    closeSync(fd);
  }
}
