import { execFile, fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createLab, fileArtifactStorage, limits, type Lab, type PipelineRequest, type Random } from '@bringup/core';
import { seededRandom } from '@bringup/core/testing';
import { bspFolder, commitFolder } from '../../examples/quickstart/src/sources.ts';
import type { PostgresServer } from '../fixtures/postgres.ts';
import { layCable } from '../fixtures/cable.ts';
import {
  connectorsOf,
  registerMachines,
  startLocalMachines,
  startRemoteMachines,
  type Machines,
} from '../fixtures/machines.ts';
import { bspPipeline } from '../fixtures/sources.ts';
import { storeOf } from '../fixtures/stores.ts';
import { faultsOf, type Done } from './check.ts';
import type { Orders } from './controller.ts';
import { Outages, type OutageCounts } from './outages.ts';
import { patiently } from './patiently.ts';

/** What goes wrong, and over what. */
export interface ChaosOptions {
  /** See `storeOf`. */
  readonly store: string;
  /** The server of the store, which crashes too. */
  readonly server?: PostgresServer;
  /** How often the way to the machines goes wrong: SSH, libvirt and a cable. 0: they are this one, and there is none. */
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
export interface ChaosResult extends Partial<OutageCounts> {
  readonly violations: readonly string[];
  readonly pipelines: number;
  readonly kills: number;
  readonly stops: number;
  readonly takeovers: number;
  readonly 'database crashes': number;
}

const buildLines = 500;
/** One point in so many is a process that stands still and comes back. */
const stopsOneIn = 6;
const crashesOneIn = 10;

const buildScript = `echo ran >> "$MARKS"
i=0; while [ $i -lt ${buildLines} ]; do i=$((i + 1)); echo "line $i"; done
sleep 1
`;

/** Pipelines at the hands of processes that die. */
export class Chaos implements AsyncDisposable {
  readonly #options: ChaosOptions;
  readonly #machines: Machines;
  readonly #outages: Outages | undefined;
  readonly #lab: Lab;
  readonly #random: Random;
  readonly #source: { readonly repository: string; readonly commitHash: string };
  readonly #owned: AsyncDisposableStack;
  readonly #controllers = new Set<ChildProcess>();
  readonly #done: Done[] = [];
  readonly #underWay = new Set<Promise<void>>();
  readonly #pausing = new Set<Promise<void>>();
  /** There are always new pipelines until then: a controller without work would not get to its last step. */
  #calm = false;
  #points = 0;
  #crashes = 0;
  #stops = 0;

  private constructor(
    options: ChaosOptions,
    machines: Machines,
    outages: Outages | undefined,
    lab: Lab,
    source: { readonly repository: string; readonly commitHash: string },
    owned: AsyncDisposableStack,
  ) {
    this.#options = options;
    this.#machines = machines;
    this.#outages = outages;
    this.#lab = lab;
    this.#source = source;
    this.#owned = owned;
    this.#random = seededRandom(options.seed);
  }

  static async start(options: ChaosOptions): Promise<Chaos> {
    await using stack = new AsyncDisposableStack();
    const { machines, outages } =
      options.outages > 0
        ? await remoteMachines(options.seed, stack)
        : { machines: stack.use(await startLocalMachines()) };
    const lab = stack.use(
      await createLab({
        store: storeOf(options.store),
        artifacts: fileArtifactStorage({ path: join(machines.folder, 'artifacts') }),
        connectors: connectorsOf(machines.settings),
        roles: [],
      }),
    );
    const source = await prebuilt(machines.folder);
    await registerMachines(lab, machines);
    return new Chaos(options, machines, outages, lab, source, stack.move());
  }

  /** Until all points are used up and all pipelines have ended. */
  async run(): Promise<ChaosResult> {
    for (let index = 0; index < this.#options.pipelines; index += 1) this.#begin();
    const outages = this.#outages?.strike(this.#options.outages);
    await Promise.all(Array.from({ length: this.#options.controllers }, () => this.#dieAgainAndAgain()));
    await outages;
    // From here on nobody dies.
    this.#calm = true;
    for (let index = 0; index < this.#options.controllers; index += 1) this.#fork();
    await Promise.all(this.#pausing);
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
    const untold = (await this.#outages?.putRight(this.#lab)) ?? [];
    const endedAt = Date.now();
    const { violations, takeovers } = await faultsOf({
      lab: this.#lab,
      machines: this.#machines,
      done: this.#done,
      logOf: () => this.#expectedLog(),
      freeBy: endedAt + limits.leaseMs + 5_000,
    });
    return {
      violations: [...untold, ...violations],
      pipelines: this.#done.length,
      kills: this.#points - this.#stops,
      stops: this.#stops,
      takeovers,
      'database crashes': this.#crashes,
      ...this.#outages?.counts,
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
    return this.#points < this.#options.points || this.#outages?.over === false;
  }

  /** A pipeline, and another one in its place as long as controllers die. */
  #begin(): void {
    const seeing = (async () => {
      const marks = join(
        this.#machines.folder,
        `marks-${this.#done.length + this.#underWay.size}-${this.#random.next()}`,
      );
      const { id } = await patiently(() => this.#lab.pipelines.createPipeline(this.#request(marks)));
      await patiently(() => this.#lab.pipelines.waitForPipeline(id));
      this.#done.push({ id, marks });
    })().finally(() => {
      this.#underWay.delete(seeing);
      if (!this.#calm) this.#begin();
    });
    this.#underWay.add(seeing);
  }

  #request(marks: string): PipelineRequest {
    return bspPipeline(this.#source, {
      buildConfig: {
        recipe: 'script',
        script: buildScript,
        customEnv: { MARKS: marks },
        outputs: [{ type: 'kernel_image', path: 'bringup-bsp.elf' }],
      },
    });
  }

  #expectedLog(): string {
    const { repository, commitHash } = this.#source;
    const lines = Array.from({ length: buildLines }, (_, index) => `line ${index + 1}\n`).join('');
    return `bringup: fetching ${repository}\nbringup: source is at ${commitHash}\n${lines}`;
  }

  #fork(end?: Orders['end']): ChildProcess {
    const { store } = this.#options;
    const orders: Orders = { store, settings: this.#machines.settings, ...(end !== undefined && { end }) };
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
      const child = this.#fork({ step, by });
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

/** Machines at the end of a cable that tells nobody when it is pulled. */
async function remoteMachines(
  seed: number,
  stack: AsyncDisposableStack,
): Promise<{ readonly machines: Machines; readonly outages: Outages }> {
  const cable = stack.use(await layCable());
  const keepalive = { keepaliveIntervalMs: 1_000, keepaliveCount: 3 };
  const machines = stack.use(await startRemoteMachines({ over: cable, keepalive }));
  return { machines, outages: new Outages(machines, cable, seededRandom(seed + 1)) };
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

/** A repository with the image of the quickstart's BSP in it, so that a build takes no time. */
async function prebuilt(folder: string): Promise<{ readonly repository: string; readonly commitHash: string }> {
  const built = await mkdtemp(join(folder, 'bsp-'));
  await cp(bspFolder, built, { recursive: true, filter: (path) => !path.startsWith(join(bspFolder, 'build')) });
  await promisify(execFile)('make', [], { cwd: built });
  const tree = await mkdtemp(join(folder, 'prebuilt-'));
  await cp(join(built, 'build/bringup-bsp.elf'), join(tree, 'bringup-bsp.elf'));
  await writeFile(join(tree, 'README'), 'An image that was built before.\n');
  return commitFolder(tree, `${tree}.git`);
}
