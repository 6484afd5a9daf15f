import fc from 'fast-check';
import { assert, it } from 'vitest';
import { limits } from '@bringup/core';
import { release, renewHeld } from '../../src/pool/reservations.ts';
import { vmRequest } from '../../src/selection/requests.ts';
import { testPool, type TestPool } from '../support/pool.ts';

const cores = 6;
const slots = 3;

/** What must be: reservations by id, each with its CPUs and when it ends. */
interface Model {
  readonly held: Map<string, { cpus: number; expiresAt: number }>;
  readonly ended: string[];
  maintenance: boolean;
  fence: number;
}

type Real = TestPool & { readonly id: string };
type Command = fc.AsyncCommand<Model, Real>;

const usedCpus = (model: Model): number => [...model.held.values()].reduce((sum, { cpus }) => sum + cpus, 0);

async function check(model: Model, real: Real): Promise<void> {
  const row = await real.pool('host').row(real.id);
  assert.deepEqual([row.cpu_used, row.slots_used, row.fence], [usedCpus(model), model.held.size, model.fence]);
  assert.isAtMost(row.cpu_used, cores);
  assert.isAtMost(row.slots_used, slots);
}

class Reserve implements Command {
  readonly cpus: number;
  constructor(cpus: number) {
    this.cpus = cpus;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    const request = vmRequest({ architecture: 'arm64', minCpuCores: this.cpus, minMemoryMb: 1 });
    const outcome = await real.selection.reserve(request, 'nobody');
    const fits = !model.maintenance && model.held.size < slots && usedCpus(model) + this.cpus <= cores;
    assert.equal(outcome.success, fits);
    if (outcome.success) {
      assert.isAbove(outcome.reservation.fence, model.fence);
      model.fence = outcome.reservation.fence;
      model.held.set(outcome.reservation.id, { cpus: this.cpus, expiresAt: outcome.reservation.expiresAt });
    }
    await check(model, real);
  }
  toString = (): string => `reserve ${this.cpus}`;
}

class Release implements Command {
  readonly which: number;
  constructor(which: number) {
    this.which = which;
  }
  check = (model: Readonly<Model>): boolean => model.held.size + model.ended.length > 0;
  async run(model: Model, real: Real): Promise<void> {
    const all = [...model.held.keys(), ...model.ended];
    const id = all[this.which % all.length] ?? '';
    await real.store.transaction((tx) => release(tx, id));
    if (model.held.delete(id)) model.ended.push(id);
    await check(model, real);
  }
  toString = (): string => `release ${this.which}`;
}

class Pass implements Command {
  readonly durationMs: number;
  constructor(durationMs: number) {
    this.durationMs = durationMs;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.clock.advance(this.durationMs);
    const now = real.clock.now();
    const expired = await renewHeld(real.store, now);
    const due = [...model.held].filter(([, { expiresAt }]) => expiresAt <= now).map(([id]) => id);
    assert.sameMembers(
      expired.map(({ id }) => id),
      due,
    );
    for (const id of due) {
      await real.store.transaction((tx) => release(tx, id, 'expired'));
      model.held.delete(id);
      model.ended.push(id);
    }
    await check(model, real);
  }
  toString = (): string => `pass ${this.durationMs} ms`;
}

class Maintain implements Command {
  readonly on: boolean;
  constructor(on: boolean) {
    this.on = on;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.pool('host').setMaintenance(real.id, this.on);
    model.maintenance = this.on;
    await check(model, real);
  }
  toString = (): string => `maintenance ${this.on ? 'on' : 'off'}`;
}

it('reservations never exceed the capacity, fences only grow, and what ended is free again', () =>
  fc.assert(
    fc.asyncProperty(
      fc.commands(
        [
          fc.integer({ min: 1, max: 4 }).map((cpus) => new Reserve(cpus)),
          fc.nat(20).map((which) => new Release(which)),
          fc.integer({ min: 1, max: limits.reservationMs }).map((durationMs) => new Pass(durationMs)),
          fc.boolean().map((on) => new Maintain(on)),
        ],
        { maxCommands: 25 },
      ),
      async (commands) => {
        await using pool = await testPool();
        const id = await pool.add({ kind: 'host', name: 'h', architectures: ['arm64'], cpuCores: cores, slots });
        await fc.asyncModelRun(
          () => ({ model: { held: new Map(), ended: [], maintenance: false, fence: 0 }, real: { ...pool, id } }),
          commands,
        );
      },
    ),
    { numRuns: 100 },
  ));
