import type { Random } from '@bringup/core';
import {
  fakeClock,
  memoryLab,
  MemoryNetwork,
  seededRandom,
  type FakeClock,
  type MemoryLab,
  type MemoryCall,
  type MemoryCallMoment,
  type NetworkProcess,
} from '@bringup/core/testing';
import { readAudit } from './audit.ts';
import { Clients } from './clients.ts';
import { Controller } from './controller.ts';
import type { SimulationDatabase } from './database.ts';
import { strike } from './faults.ts';
import { History } from './history.ts';
import { scenery, type Scenery } from './machines.ts';
import type { Outcome } from './outcome.ts';
import { faultsEndMs, machines, type Plan } from './plan.ts';
import type { Stage } from './stage.ts';

const startMs = Date.UTC(2026, 0, 1);
/** All that waits has its turn within this time once faults have stopped. */
const patienceMs = 900_000;
const stepMs = 2_000;

/** One run: controllers, clients, machines, and what goes wrong between them. */
export class Simulation implements Stage {
  readonly plan: Plan;
  readonly clock: FakeClock = fakeClock(startMs, { settleTurns: 1 });
  readonly history: History;
  readonly network: MemoryNetwork;
  /** Decides what is nobody's plan: delays, lost words. */
  readonly luck: Random;
  readonly controllers: Controller[] = [];
  readonly listeners = new Set<{ readonly index: number; readonly heard: () => void }>();
  /** Who ran the last statement. */
  actor = 'portal';
  healed = false;
  readonly #database: SimulationDatabase;
  readonly #scenery: Scenery;
  readonly #callIds = new WeakMap<MemoryCall, number>();
  #calls = 0;
  #world: MemoryLab | undefined;

  constructor(plan: Plan, database: SimulationDatabase) {
    this.plan = plan;
    this.#database = database;
    this.luck = seededRandom(plan.seed ^ 0x2545f491);
    this.history = new History(() => this.clock.now() - startMs);
    this.network = new MemoryNetwork({
      clock: this.clock,
      random: this.luck,
      delayedPercent: 40,
      onCall: (process, call, when, error) => this.#onCall(process, call, when, error),
    });
    this.#scenery = scenery(plan);
  }

  /** The lab as somebody sees it who does no work and whom nothing happens to; and its machines. */
  get world(): MemoryLab {
    if (this.#world === undefined) throw new TypeError('the simulation has not begun');
    return this.#world;
  }

  async run(): Promise<Outcome> {
    const unhandled: string[] = [];
    const onUnhandled = (error: unknown): void => {
      // What a dead process still says to itself.
      if (!String(error).includes('the process of this lab is dead')) unhandled.push(describeError(error));
    };
    process.on('unhandledRejection', onUnhandled);
    try {
      return await this.#run(unhandled);
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
  }

  async #run(unhandled: readonly string[]): Promise<Outcome> {
    this.#database.reset({ who: () => this.actor, now: () => this.clock.now() - startMs });
    await this.#open();
    const clients = new Clients(this, this.#database);
    for (const item of this.plan.work) this.clock.timer(item.atMs, () => void clients.want(item));
    for (const fault of this.plan.faults) strike(this, fault);
    const unfinished = await this.#untilDone(clients);
    await this.#sweep();
    const elapsedMs = this.clock.now() - startMs;
    const outcome = {
      plan: this.plan,
      history: this.history,
      audit: readAudit(this.#database.memory),
      scenery: this.#scenery,
      world: this.world,
      database: this.#database,
      unfinished,
      elapsedMs,
      unhandled,
    };
    return outcome;
  }

  /** Ends what is still open. */
  async end(): Promise<void> {
    const ending = Promise.all([
      ...this.controllers.map((controller) => controller.end()),
      this.world[Symbol.asyncDispose](),
    ]);
    await this.clock.runUntil(ending);
  }

  async #open(): Promise<void> {
    const { repositories, build, guest, boardGuest, watch } = this.#scenery;
    const { seed } = this.plan;
    this.#world = await memoryLab({
      database: this.#database.memory,
      clock: this.clock,
      network: this.network,
      seed,
      roles: [],
      repositories,
      build,
      guest,
      boardGuest,
      process: {
        name: 'portal',
        onStatement: () => {
          this.actor = 'portal';
        },
      },
    });
    const { world } = this;
    await this.clock.runUntil(
      (async () => {
        await world.addServer({ hostname: 'build1', maxConcurrentBuilds: 1 });
        await world.addServer({ hostname: 'build2', maxConcurrentBuilds: 2 });
        await world.addHost({ hostname: 'host1', maxVms: 2, machine: { cpuCores: 4, memoryMb: 4096 } });
        await world.addBoard({ name: 'board1' });
        await world.addBoard({ name: 'board2' });
      })(),
    );
    watch(world);
    this.network.latencyMs = this.plan.latencyMs;
    for (let index = 0; index < this.plan.controllers; index += 1) {
      const controller = new Controller(this, index);
      this.controllers.push(controller);
      await controller.open();
    }
  }

  /** Gives what had not ended in time. */
  async #untilDone(clients: Clients): Promise<string[]> {
    for (;;) {
      await this.clock.advance(stepMs);
      const atMs = this.clock.now() - startMs;
      const left = clients.unfinished();
      if (left.length === 0 || (!this.healed && atMs >= faultsEndMs)) {
        if (!this.healed) this.#heal();
        if (left.length === 0) return [];
      }
      if (atMs > faultsEndMs + patienceMs) return left;
    }
  }

  #heal(): void {
    this.healed = true;
    this.history.add('world', 'healed');
    this.network.latencyMs = 0;
    this.world.storage.setCapacity(undefined);
    for (const machine of machines) this.world.shell.host(machine).fs.capacityBytes = Infinity;
    for (const controller of this.controllers) {
      this.network.healAll();
      controller.heal();
    }
  }

  /** One process is left; it looks for what nobody knows any more. */
  async #sweep(): Promise<void> {
    await this.clock.advance(2_000);
    const [, ...others] = this.controllers;
    await this.clock.runUntil(Promise.all(others.map((controller) => controller.end())));
    // Machines that it has not found again, or that somebody works on, have their turn the next time.
    const away = "select id from resources where kind <> 'board' and (status <> 'online' or maintenance = 1)";
    const giveUpAt = this.clock.now() + patienceMs;
    while (this.#database.rows(away).length > 0 && this.clock.now() < giveUpAt) await this.clock.advance(stepMs);
    this.#database.memory.raw.exec("update chores set due_at = 0 where name = 'orphans'");
    await this.clock.advance(6_000);
  }

  /** Word of a commit of one controller, to all others. */
  tell(from: number): void {
    for (const { index, heard } of [...this.listeners]) if (index !== from) heard();
  }

  #onCall(process: NetworkProcess, call: MemoryCall, when: MemoryCallMoment, error: unknown): void {
    const { machine, name, about } = call;
    if (when === 'sent') this.#callIds.set(call, (this.#calls += 1));
    const controller = this.controllers.find((one) => one.name === process.name);
    this.history.add(process.name, `${name} ${when}`, {
      call: this.#callIds.get(call),
      ...(when === 'sent' && controller !== undefined && { lookedAt: controller.lookedAt - startMs }),
      machine,
      ...(about !== undefined && { about }),
      ...(error !== undefined && { error: describeError(error) }),
    });
    if (when !== 'before' && when !== 'after') return;
    for (const one of this.controllers) one.onCall(process.name, name, when);
  }
}

function describeError(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
