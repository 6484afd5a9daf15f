import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { applyBug, copySources, readBugs, simulate } from './bugs.ts';
import { SimulationDatabase } from './database.ts';
import { acts, idsOf, keeping, planOf, type Plan } from './plan.ts';
import { runPlan } from './run.ts';

describe('the simulation', () => {
  it('finds no promise broken in some seeds of each kind of fault', async () => {
    const database = await SimulationDatabase.open();
    const kinds = new Set<string>();
    for (let seed = 1; seed <= 25; seed += 1) {
      const plan = planOf(seed);
      for (const { kind } of plan.faults) kinds.add(kind);
      const { violations } = await runPlan(plan, database);
      expect(violations, `pnpm simulate --seed ${seed}`).toEqual([]);
    }
    expect([...kinds].toSorted()).toEqual(
      [
        'clock-jump',
        'crash',
        'cut',
        'deaf',
        'disk-full',
        'pause',
        'reboot',
        'slow',
        'storage-full',
        'store-away',
        'store-full',
      ].toSorted(),
    );
  });

  // What it sees of a VM then is of another's.
  it.each([...acts, 'getVm'])(
    'loses no pipeline to a process that stands still before %s until another one is at it',
    async (name) => {
      const database = await SimulationDatabase.open();
      const target = ['powerOff', 'powerOn', 'flash', 'openConsole'].includes(name) ? 'physical_board' : 'qemu';
      for (const controller of [0, 1]) {
        for (let forMs = 14_500; forMs < 18_500; forMs += 250) {
          const plan: Plan = {
            ...{ seed: 1, controllers: 2, latencyMs: 20, health: false },
            work: [
              {
                ...{ id: 'w0', kind: 'pipeline', target, fate: 'passes', atMs: 0, controller: 0 },
                ...{ buildMs: 500, lines: 8, priority: 0, timeoutMs: 300_000 },
              },
            ],
            faults: [{ id: 'p0', kind: 'pause', controller, moment: { call: 1, when: 'before', name }, forMs }],
          };
          const { violations } = await runPlan(plan, database);
          expect(violations, `still for ${forMs} ms, process ${controller}`).toEqual([]);
        }
      }
    },
  );

  it('replays a seed exactly, in a database that was used and in a new one', async () => {
    const database = await SimulationDatabase.open();
    for (const seed of [3, 7, 18]) {
      const first = await runPlan(planOf(seed), database);
      await runPlan(planOf(seed + 1), database);
      expect((await runPlan(planOf(seed), database)).hash).toBe(first.hash);
      expect((await runPlan(planOf(seed), await SimulationDatabase.open())).hash).toBe(first.hash);
      expect((await runPlan(planOf(seed + 1), database)).hash).not.toBe(first.hash);
    }
  });

  it('has seeded bugs that apply to the sources as they are', async () => {
    const bugs = await readBugs();
    expect(bugs.length).toBeGreaterThanOrEqual(7);
    const root = fileURLToPath(new URL('../../', import.meta.url));
    for (const bug of bugs) await applyBug(bug, root, ['--check']);
  });

  it('runs in the copy of the sources that bugs are put into, and finds nothing there without one', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'bringup-simulation-'));
    try {
      await copySources(directory);
      expect(await simulate(directory, ['--seeds', '2', '--workers', '1'])).toMatch(/^2 passed, 0 failed$/m);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });

  it('keeps what is named of a plan, as it was', () => {
    const plan = planOf(7);
    const [first = ''] = idsOf(plan);
    const kept = keeping(plan, new Set([first]));
    expect(idsOf(kept)).toEqual([first]);
    expect(keeping(plan, new Set(idsOf(plan)))).toEqual(plan);
  });
});
