import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { createLab, fileArtifactStorage, limits, type Lab, type Random } from '@bringup/core';
import { seededRandom } from '@bringup/core/testing';
import { startBoards } from '../fixtures/boards-lab.ts';
import { layCable } from '../fixtures/cable.ts';
import { startLocalMachines, startRemoteMachines } from '../fixtures/machines.ts';
import type { PostgresServer } from '../fixtures/postgres.ts';
import { storeOf } from '../fixtures/stores.ts';
import { boardScene } from './boards.ts';
import { faultsIn, type Done } from './check.ts';
import type { Orders } from './controller.ts';
import { Outages } from './outages.ts';
import { patiently } from './patiently.ts';
import { connectorsAt, folderOf, type Scene, type SceneSettings } from './scene.ts';
import { remoteVmScene, vmScene } from './vms.ts';

/** What goes wrong, and over what. */
export interface ChaosOptions {
  /** See `storeOf`. */
  readonly store: string;
  /** The server of the store, which crashes too. */
  readonly server?: PostgresServer;
  /** What the pipelines run on. */
  readonly on: SceneSettings['on'];
  /** How often the way to the machines goes wrong: to VMs, SSH, libvirt and a cable. 0: their host is this one. */
  readonly outages: number;
  /** How often a controller ends in the middle of its work, at least: they do as long as there are outages. */
  readonly points: number;
  /** Unfinished ones at any time. */
  readonly pipelines: number;
  /** Processes that do the work. */
  readonly controllers: number;
  readonly seed: number;
}

/** What came of it. */
export interface ChaosResult {
  readonly violations: readonly string[];
  readonly pipelines: number;
  readonly kills: number;
  readonly stops: number;
  readonly takeovers: number;
  readonly 'database crashes': number;
  readonly outages: Readonly<Record<string, number>>;
}

/** One point in so many is a process that stands still and comes back. */
const stopsOneIn = 3;
const crashesOneIn = 10;

/** Pipelines at the hands of processes that die. */
export class Chaos implements AsyncDisposable {
  readonly #options: ChaosOptions;
  readonly #scene: Scene;
  readonly #outages: Outages;
  readonly #lab: Lab;
  readonly #random: Random;
  readonly #owned: AsyncDisposableStack;
  readonly #controllers = new Set<ChildProcess>();
  readonly #done: Done[] = [];
  readonly #underWay = new Set<Promise<void>>();
  readonly #pausing = new Set<Promise<void>>();
  /** There are always new pipelines until then: a controller without work would not get to its last step. */
  #calm = false;
  #points = 0;
  #pipelines = 0;
  #crashes = 0;
  #stops = 0;

  private constructor(options: ChaosOptions, scene: Scene, lab: Lab, owned: AsyncDisposableStack) {
    this.#options = options;
    this.#scene = scene;
    this.#outages = new Outages(scene.outages, seededRandom(options.seed + 1));
    this.#lab = lab;
    this.#owned = owned;
    this.#random = seededRandom(options.seed);
  }

  static async start(options: ChaosOptions): Promise<Chaos> {
    await using stack = new AsyncDisposableStack();
    const scene = await sceneOf(options, stack);
    const lab = stack.use(
      await createLab({
        store: storeOf(options.store),
        artifacts: fileArtifactStorage({ path: join(folderOf(scene.settings), 'artifacts') }),
        connectors: connectorsAt(scene.settings),
        roles: [],
      }),
    );
    await scene.register(lab);
    return new Chaos(options, scene, lab, stack.move());
  }

  /** Until all points are used up and all pipelines have ended. */
  async run(): Promise<ChaosResult> {
    for (let index = 0; index < this.#options.pipelines; index += 1) this.#begin();
    const outages = this.#outages.strike(this.#options.outages);
    await Promise.all(Array.from({ length: this.#options.controllers }, () => this.#dieAgainAndAgain()));
    await outages;
    // From here on nobody dies.
    this.#calm = true;
    for (let index = 0; index < this.#options.controllers; index += 1) this.#fork();
    await Promise.all(this.#pausing);
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    const untold = (await this.#scene.putRight?.(this.#lab)) ?? [];
    const endedAt = Date.now();
    const { violations, takeovers } = await faultsIn({
      lab: this.#lab,
      scene: this.#scene,
      done: this.#done,
      freeBy: endedAt + limits.leaseMs + 5_000,
    });
    return {
      violations: [...untold, ...violations],
      pipelines: this.#done.length,
      kills: this.#points - this.#stops,
      stops: this.#stops,
      takeovers,
      'database crashes': this.#crashes,
      outages: this.#outages.counts,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const controller of this.#controllers) {
      controller.kill('SIGKILL');
      if (controller.exitCode === null && controller.signalCode === null) await once(controller, 'exit');
    }
    await this.#owned.disposeAsync();
  }

  get #more(): boolean {
    return this.#points < this.#options.points || !this.#outages.over;
  }

  /** A pipeline, and another one in its place as long as controllers die. */
  #begin(): void {
    const seeing = (async () => {
      const marks = join(folderOf(this.#scene.settings), `marks-${this.#pipelines}`);
      this.#pipelines += 1;
      const request = await this.#scene.request(marks);
      const { id } = await patiently(() => this.#lab.pipelines.createPipeline(request));
      await patiently(() => this.#lab.pipelines.waitForPipeline(id));
      this.#done.push({ id, marks });
    })().finally(() => {
      this.#underWay.delete(seeing);
      if (!this.#calm) this.#begin();
    });
    this.#underWay.add(seeing);
  }

  #fork(end?: Orders['end']): ChildProcess {
    const { store } = this.#options;
    const orders: Orders = { store, settings: this.#scene.settings, ...(end !== undefined && { end }) };
    const child = fork(join(import.meta.dirname, 'controller.ts'), [JSON.stringify(orders)], {
      execArgv: process.execArgv,
    });
    this.#controllers.add(child);
    child.once('exit', () => this.#controllers.delete(child));
    return child;
  }

  async #dieAgainAndAgain(): Promise<void> {
    while (this.#more) {
      this.#points += 1;
      const by = this.#points % stopsOneIn === 0 ? 'SIGSTOP' : 'SIGKILL';
      // Early steps and late ones alike.
      const step = Math.ceil(Math.exp(this.#random.next() * Math.log(1_500)));
      // A stop of a process that is about to act is what leases do not help against.
      const acting = by === 'SIGSTOP' && this.#stops % 2 === 0;
      const child = this.#fork({ step, by, acting });
      if (this.#options.server !== undefined && this.#points % crashesOneIn === 0) await this.#crashDatabase();
      if (by === 'SIGKILL') await ended(child);
      else {
        this.#stops += 1;
        await stopped(child);
        const back = this.#comeBack(child).finally(() => this.#pausing.delete(back));
        this.#pausing.add(back);
      }
      if (this.#points % 50 === 0) console.log(`${this.#points} points, ${this.#done.length} pipelines done`);
    }
  }

  /** Long after its leases have ended, it goes on as if nothing had been, and dies a little later. */
  async #comeBack(child: ChildProcess): Promise<void> {
    await pause(limits.leaseMs + 3_000);
    child.kill('SIGCONT');
    await pause(2_000);
    child.kill('SIGKILL');
    await ended(child);
  }

  async #crashDatabase(): Promise<void> {
    this.#crashes += 1;
    await this.#options.server?.stop('immediate');
    await this.#options.server?.start();
  }
}

async function sceneOf({ outages, on }: ChaosOptions, stack: AsyncDisposableStack): Promise<Scene> {
  if (on === 'boards') return boardScene(stack.use(await startBoards()));
  if (outages === 0) return vmScene(stack.use(await startLocalMachines()));
  const cable = stack.use(await layCable());
  const keepalive = { keepaliveIntervalMs: 1_000, keepaliveCount: 3 };
  return remoteVmScene(stack.use(await startRemoteMachines({ over: cable, keepalive })), cable);
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  if (child.signalCode !== 'SIGKILL') throw new Error(`a controller ended by itself, with ${child.exitCode}`);
}

/** Waits until the kernel has stopped a process: nobody tells its parent in Node. */
async function stopped(child: ChildProcess): Promise<void> {
  const state = (): string => readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]?.[0] ?? '';
  while (state() !== 'T') await pause(50);
}
