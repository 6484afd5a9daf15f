import fc from 'fast-check';
import { assert, describe, it } from 'vitest';
import { limits } from '@bringup/core';
import { release } from '../../src/pool/reservations.ts';
import { tendWaitingList } from '../../src/pool/waiting-upkeep.ts';
import { vmRequest } from '../../src/selection/requests.ts';
import { testPool, type TestPool } from '../support/pool.ts';

const runs = { numRuns: 100 };
const cores = 6;
const slots = 3;

interface Asked {
  readonly id: string;
  readonly cpus: number;
  readonly priority: number;
  readonly at: number;
  readonly order: number;
}

/** What must be: who holds how much of which host, and who waits. */
interface Model {
  readonly hosts: Map<string, { readonly held: Map<string, number>; maintenance: boolean }>;
  readonly waiting: Map<string, Asked>;
  asked: number;
}

interface Real extends TestPool {
  readonly hosts: readonly string[];
}
type Command = fc.AsyncCommand<Model, Real>;

/** Whose turn is first: an independent reading of the rule. */
function before(a: Asked, b: Asked): boolean {
  const earlier = (one: Asked): number => one.at - one.priority * limits.waitingPriorityMs;
  return earlier(a) === earlier(b) ? a.order < b.order : earlier(a) < earlier(b);
}

function hasRoom(host: { readonly held: ReadonlyMap<string, number> }, cpus: number): boolean {
  const used = [...host.held.values()].reduce((sum, n) => sum + n, 0);
  return host.held.size < slots && used + cpus <= cores;
}

function ask(pool: TestPool, asked: Asked): Promise<unknown> {
  const request = vmRequest({ architecture: 'arm64', minCpuCores: asked.cpus, minMemoryMb: 1 });
  return pool.store.transaction((tx) =>
    pool.selection.obtain(tx, { id: asked.id, request, holder: asked.id, priority: asked.priority }),
  );
}

/** Takes over what was granted, and checks that it was right to grant it. */
async function check(model: Model, real: Real): Promise<void> {
  const rows = await real.store.db.selectFrom('reservations').selectAll().execute();
  const granted = rows.filter(({ id }) => model.waiting.has(id)).sort((a, b) => a.fence - b.fence);
  for (const { id, resource_id } of granted) {
    const one = model.waiting.get(id);
    const host = model.hosts.get(resource_id);
    assert(one !== undefined && host !== undefined);
    assert.isFalse(host.maintenance, 'granted in maintenance');
    assert.isTrue(hasRoom(host, one.cpus), 'granted beyond the capacity');
    for (const other of model.waiting.values()) {
      if (other === one || !before(other, one)) continue;
      assert.isFalse(hasRoom(host, other.cpus), `${other.id} was overtaken by ${id}`);
    }
    model.waiting.delete(id);
    host.held.set(id, one.cpus);
  }
  const held = [...model.hosts].flatMap(([id, host]) => [...host.held.keys()].map((one) => `${id} ${one}`));
  assert.sameMembers(
    rows.map((row) => `${row.resource_id} ${row.id}`),
    held,
  );
  // Nobody waits for what is free, unless it is held back for somebody who has waited long.
  const kept = await real.store.db.selectFrom('resources').select('id').where('held_rank', 'is not', null).execute();
  for (const [id, host] of model.hosts) {
    if (host.maintenance || kept.some((row) => row.id === id)) continue;
    for (const one of model.waiting.values()) assert.isFalse(hasRoom(host, one.cpus), `${one.id} waits for free room`);
  }
  const listed = await real.reservations.listWaiting();
  const expected = [...model.waiting.values()].sort((a, b) => (before(a, b) ? -1 : 1));
  assert.deepEqual(
    listed.map(({ id, position }) => [id, position]),
    expected.map(({ id }, index) => [id, index + 1]),
  );
}

class Arrive implements Command {
  readonly cpus: number;
  readonly priority: number;
  constructor(cpus: number, priority: number) {
    this.cpus = cpus;
    this.priority = priority;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    const order = model.asked;
    model.asked += 1;
    const asked = { id: `q${order}`, cpus: this.cpus, priority: this.priority, at: real.clock.now(), order };
    model.waiting.set(asked.id, asked);
    await ask(real, asked);
    await check(model, real);
  }
  toString = (): string => `arrive ${this.cpus} cpus, priority ${this.priority}`;
}

class Leave implements Command {
  readonly which: number;
  constructor(which: number) {
    this.which = which;
  }
  check = (model: Readonly<Model>): boolean => [...model.hosts.values()].some(({ held }) => held.size > 0);
  async run(model: Model, real: Real): Promise<void> {
    const all = [...model.hosts.values()].flatMap((host) => [...host.held.keys()].map((id) => ({ host, id })));
    const { host, id } = all[this.which % all.length] ?? assert.fail();
    host.held.delete(id);
    await real.store.transaction((tx) => release(tx, id));
    await check(model, real);
  }
  toString = (): string => `leave ${this.which}`;
}

class Cancel implements Command {
  readonly which: number;
  constructor(which: number) {
    this.which = which;
  }
  check = (model: Readonly<Model>): boolean => model.waiting.size > 0;
  async run(model: Model, real: Real): Promise<void> {
    const ids = [...model.waiting.keys()];
    const id = ids[this.which % ids.length] ?? assert.fail();
    model.waiting.delete(id);
    await real.reservations.cancelWaiting(id);
    await check(model, real);
  }
  toString = (): string => `cancel ${this.which}`;
}

class Maintain implements Command {
  readonly which: number;
  readonly on: boolean;
  constructor(which: number, on: boolean) {
    this.which = which;
    this.on = on;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    const id = real.hosts[this.which % real.hosts.length] ?? assert.fail();
    const host = model.hosts.get(id) ?? assert.fail();
    host.maintenance = this.on;
    await real.pool('host').setMaintenance(id, this.on);
    await check(model, real);
  }
  toString = (): string => `maintenance of ${this.which} ${this.on ? 'on' : 'off'}`;
}

class Register implements Command {
  check = (model: Readonly<Model>): boolean => model.hosts.size < 3;
  async run(model: Model, real: Real): Promise<void> {
    const id = await real.add({ kind: 'host', name: `more${model.hosts.size}`, architectures: ['arm64'], ...size });
    model.hosts.set(id, { held: new Map(), maintenance: false });
    await check(model, real);
  }
  toString = (): string => 'register a host';
}

class Pass implements Command {
  readonly durationMs: number;
  constructor(durationMs: number) {
    this.durationMs = durationMs;
  }
  check = (): boolean => true;
  async run(model: Model, real: Real): Promise<void> {
    await real.clock.advance(this.durationMs);
    await tendWaitingList(real.store, real.clock);
    await check(model, real);
  }
  toString = (): string => `pass ${this.durationMs} ms`;
}

const size = { cpuCores: cores, slots };

async function withHosts(count: number, act: (real: Real) => Promise<void>): Promise<void> {
  await using pool = await testPool();
  const hosts: string[] = [];
  for (let n = 0; n < count; n += 1) {
    hosts.push(await pool.add({ kind: 'host', name: `h${n}`, architectures: ['arm64'], ...size }));
  }
  await act({ ...pool, hosts });
}

describe('the waiting list', () => {
  it('R13.5, P20: grants what is free at once, in turn, never beyond the capacity, and lists who waits in that order', () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2 }),
        fc.commands(
          [
            fc
              .tuple(fc.integer({ min: 1, max: cores }), fc.integer({ min: 0, max: 2 }))
              .map(([cpus, priority]) => new Arrive(cpus, priority)),
            fc.nat(20).map((which) => new Leave(which)),
            fc.nat(20).map((which) => new Cancel(which)),
            fc.tuple(fc.nat(2), fc.boolean()).map(([which, on]) => new Maintain(which, on)),
            fc.constant(new Register()),
            fc.integer({ min: 1, max: limits.waitingHoldBackMs }).map((durationMs) => new Pass(durationMs)),
          ],
          { maxCommands: 40 },
        ),
        (count, commands) =>
          withHosts(count, (real) =>
            fc.asyncModelRun(
              () => ({
                model: {
                  hosts: new Map(real.hosts.map((id) => [id, { held: new Map(), maintenance: false }])),
                  waiting: new Map(),
                  asked: 0,
                },
                real,
              }),
              commands,
            ),
          ),
      ),
      runs,
    ));

  it('R13.5: starves nobody: a big request is granted in bounded time however many small ones keep coming', () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          big: fc.integer({ min: 4, max: cores }),
          small: fc.array(fc.record({ cpus: fc.integer({ min: 2, max: 3 }), steps: fc.integer({ min: 1, max: 3 }) }), {
            minLength: 3,
            maxLength: 8,
          }),
        }),
        ({ big, small }) =>
          withHosts(1, async (real) => {
            const stepMs = limits.waitingHoldBackMs / 2;
            const ends = new Map<string, number>();
            let asked = 0;
            let step = 0;
            const steps = new Map<string, number>();
            const active = async (): Promise<string[]> => {
              const rows = await real.reservations.list();
              for (const { id } of rows) if (!ends.has(id)) ends.set(id, step + (steps.get(id) ?? 1));
              return rows.map(({ id }) => id);
            };
            const arrive = async (id: string, cpus: number, lasts: number): Promise<void> => {
              steps.set(id, lasts);
              await ask(real, { id, cpus, priority: 0, at: 0, order: 0 });
            };
            // More small ones than fit, always: at no moment is there room for the big one by chance.
            const next = async (): Promise<void> => {
              const one = small[asked % small.length] ?? assert.fail();
              asked += 1;
              await arrive(`small${asked}`, one.cpus, one.steps);
            };
            for (let n = 0; n < 4; n += 1) await next();
            await arrive('big', big, 1);
            // Aged enough, then at most the longest holder, and those whose turn was before.
            const bound = limits.waitingHoldBackMs / stepMs + 4 * 8;
            for (let held = await active(); !held.includes('big'); held = await active()) {
              assert.isAtMost(step, bound, 'the big request starves');
              for (let n = 0; n < 2; n += 1) await next();
              for (const id of held) if ((ends.get(id) ?? 0) <= step) await real.reservations.release(id);
              step += 1;
              await real.clock.advance(stepMs);
            }
          }),
      ),
      runs,
    ));

  it('R13.5: grants every request in the end, as long as holders end', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            cpus: fc.integer({ min: 1, max: cores }),
            priority: fc.integer({ min: -1, max: 3 }),
            leaves: fc.nat(10),
            passMs: fc.nat(limits.waitingHoldBackMs),
          }),
          { minLength: 1, maxLength: 10 },
        ),
        (requests) =>
          withHosts(2, async (real) => {
            const seen = new Set<string>();
            const endOne = async (which: number): Promise<boolean> => {
              const held = await real.reservations.list();
              for (const { id } of held) seen.add(id);
              const one = held[which % Math.max(held.length, 1)];
              if (one !== undefined) await real.reservations.release(one.id);
              return one !== undefined;
            };
            for (const [order, { leaves, passMs, ...asked }] of requests.entries()) {
              await ask(real, { ...asked, id: `q${order}`, at: 0, order });
              await real.clock.advance(passMs);
              if (leaves % 2 === 0) await endOne(leaves);
            }
            while (await endOne(0));
            assert.equal(seen.size, requests.length);
            assert.isEmpty(await real.reservations.listWaiting());
          }),
      ),
      runs,
    ));
});
