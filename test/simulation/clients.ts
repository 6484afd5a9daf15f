import { isBringupError, type CapacityRequest, type Reservation } from '@bringup/core';
import type { MemoryLab } from '@bringup/core/testing';
import type { SimulationDatabase } from './database.ts';
import { repositoryOf } from './machines.ts';
import type { WorkItem } from './plan.ts';
import type { Stage } from './stage.ts';

type Of<K extends WorkItem['kind']> = Extract<WorkItem, { readonly kind: K }>;

/** Those who want something of the lab. They ask the process they know, or the next one that lives. */
export class Clients {
  readonly #simulation: Stage;
  readonly #database: SimulationDatabase;
  readonly #asking = new Set<string>();
  readonly #wanted = new Set<string>();

  constructor(simulation: Stage, database: SimulationDatabase) {
    this.#simulation = simulation;
    this.#database = database;
    for (const { id } of simulation.plan.work) this.#wanted.add(id);
  }

  async want(item: WorkItem): Promise<void> {
    this.#wanted.delete(item.id);
    switch (item.kind) {
      case 'pipeline':
        return this.#pipeline(item);
      case 'reservation':
        return this.#reservation(item);
      case 'maintenance':
        return this.#maintenance(item);
    }
  }

  /** What is not over yet, for a person. */
  unfinished(): string[] {
    const rows = this.#database.rows(
      "select id, kind, state, phase from work_items where state not in ('succeeded', 'failed', 'cancelled')",
    );
    return [
      ...this.#wanted,
      ...[...this.#asking].map((id) => `${id} is being asked for`),
      ...rows.map(
        ({ id, kind, state, phase }) => `${String(kind)} ${String(id)} is ${String(state)} (${String(phase)})`,
      ),
      ...this.#database
        .rows('select id, holder from reservations')
        .map(({ id }) => `reservation ${String(id)} is held`),
      ...this.#database.rows('select id from waiting').map(({ id }) => `request ${String(id)} waits`),
    ];
  }

  async #pipeline(item: Of<'pipeline'>): Promise<void> {
    const { id: repository, target, priority, timeoutMs, cancelAfterMs } = item;
    const pipeline = await this.#ask(item, `${item.id}`, (lab) =>
      lab.pipelines.createPipeline({
        name: item.id,
        sourceRepository: repositoryOf(repository),
        targetArchitecture: 'x86_64',
        buildConfig: { recipe: 'kernel' },
        environmentType: target,
        tests: { from: 'console', timeoutMs: 60_000 },
        priority,
        timeoutMs,
      }),
    );
    if (pipeline === undefined) return;
    this.#simulation.history.add('client', 'pipeline', { item: item.id, id: pipeline.id });
    if (cancelAfterMs === undefined) return;
    this.#simulation.clock.timer(cancelAfterMs, () => {
      this.#simulation.history.add('client', 'cancel', { id: pipeline.id });
      void this.#ask(item, `the end of ${item.id}`, (lab) => lab.pipelines.cancelPipeline(pipeline.id));
    });
  }

  async #reservation(item: Of<'reservation'>): Promise<void> {
    const { history } = this.#simulation;
    const request = requestFor(item.of);
    let by: MemoryLab | undefined;
    const held = await this.#ask(item, item.id, (lab) => {
      by = lab;
      return lab.reservations.request(request, { holder: item.id, priority: item.priority, timeoutMs: item.timeoutMs });
    });
    if (held === undefined || by === undefined) return;
    history.add('client', 'holds', { item: item.id, id: held.id, resource: held.resourceId, fence: held.fence });
    if (!item.forgotten) void this.#hold(item, held, by);
  }

  /** Renews it as long as it is wanted, and gives it back, as long as its process lives. */
  async #hold(item: Of<'reservation'>, { id }: Reservation, lab: MemoryLab): Promise<void> {
    const { clock, history } = this.#simulation;
    const own = lab.process.clock(clock);
    const pause = (ms: number): Promise<void> => new Promise((resolve) => void own.timer(ms, resolve));
    try {
      for (let leftMs = item.holdMs; leftMs > 0; leftMs -= 5_000) {
        await pause(Math.min(leftMs, 5_000));
        await lab.reservations.renew(id);
      }
      await lab.reservations.release(id);
      history.add('client', 'gives back', { item: item.id, id });
    } catch (error) {
      history.add('client', 'has lost', { item: item.id, id, error: String(error) });
      // It may have failed to renew for another reason than that: then it ends by itself.
    }
  }

  async #maintenance(item: Of<'maintenance'>): Promise<void> {
    const [row] = this.#database.rows('select id from resources where name = ?', item.machine);
    if (row === undefined) return;
    const now = this.#simulation.clock.now();
    await this.#ask(item, item.id, (lab) =>
      lab.maintenance.schedule({ resourceIds: [String(row['id'])], startsAt: now, endsAt: now + item.forMs }),
    );
  }

  /** Asks once of each process, or later, until there is an answer. One that dies while it is asked answers never. */
  async #ask<T>(item: WorkItem, what: string, act: (lab: MemoryLab) => Promise<T>): Promise<T | undefined> {
    const { controllers, clock, history } = this.#simulation;
    this.#asking.add(what);
    try {
      for (let tries = 0; tries < 100; tries += 1) {
        const controller = controllers[(item.controller + tries) % controllers.length];
        const lab = controller?.lab;
        if (controller !== undefined && lab !== undefined) {
          const died = Promise.withResolvers<undefined>();
          const watch = (): void => {
            if (lab.process.dead) died.resolve(undefined);
            else clock.timer(1_000, watch, { background: true });
          };
          watch();
          try {
            const answer = await Promise.race([act(lab), died.promise]);
            if (answer === undefined && lab.process.dead) history.add('client', 'got no answer', { item: item.id });
            return answer;
          } catch (error) {
            history.add('client', 'was refused', { item: item.id, error: String(error) });
            if (isBringupError(error, 'invalid-input', 'no-match', 'deadline-exceeded', 'aborted')) return undefined;
          }
        }
        await new Promise<void>((resolve) => void clock.timer(1_000, resolve));
      }
      return undefined;
    } finally {
      this.#asking.delete(what);
    }
  }
}

function requestFor(kind: CapacityRequest['kind']): CapacityRequest {
  const nothing = { cpu: 0, memoryMb: 0, storageGb: 0 };
  return { kind, architecture: 'x86_64', traits: [], use: { slots: 1, ...nothing }, minimum: nothing };
}
