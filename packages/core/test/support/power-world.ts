import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, type Clock, type PowerMethod, type PowerSequence } from '@bringup/core';
import {
  fakeClock,
  memoryPower,
  memoryPowerConnector,
  memoryShell,
  seededRandom,
  type FakeClock,
} from '@bringup/core/testing';
import type { Board } from '@bringup/core';
import { Connectors } from '../../src/pool/connectors.ts';
import type { ResourceKindModule } from '../../src/pool/kind.ts';
import { boardKind, type BoardProfile } from '../../src/pool/kinds/board.ts';
import { Pool } from '../../src/pool/pool.ts';
import { PowerHandler } from '../../src/power/handler.ts';
import { watchInterventions } from '../../src/power/intervention.ts';
import { PowerService } from '../../src/power/service.ts';
import { AlertService } from '../../src/alerts/service.ts';
import { workKinds } from '../../src/model/work.ts';
import { sqlite } from '../../src/store/sqlite-provider.ts';
import { Store } from '../../src/store/store.ts';
import { WorkEngine } from '../../src/work/engine.ts';

/** What one board of a test is. */
export interface PowerWorldOptions {
  readonly sequence?: PowerSequence;
  readonly method?: PowerMethod;
  /** From power-on until its shell answers; undefined: never. */
  readonly bootsAfterMs?: number | undefined;
}

/** The power of one board, everything about it that goes wrong, and what was really done to it. */
export interface PowerWorld extends AsyncDisposable {
  readonly store: Store;
  readonly clock: FakeClock;
  readonly board: Board;
  readonly power: PowerService;
  readonly engine: WorkEngine;
  readonly alerts: AlertService;
  readonly services: { clock: Clock; random: ReturnType<typeof seededRandom> };
  readonly outlet: ReturnType<typeof memoryPower>;
  /** Each time the power really changed. */
  readonly switched: { readonly to: 'on' | 'off'; readonly at: number }[];
  /** Whether its shell answers; a board that hangs does not until its power is cycled. */
  hangs: boolean;
  /** The process dies as by SIGKILL, and is started again. */
  restart(): Promise<void>;
  view(): Promise<Board>;
}

export async function powerWorld(options: PowerWorldOptions = {}): Promise<PowerWorld> {
  const { sequence, method = 'network_pdu' } = options;
  const bootsAfterMs = 'bootsAfterMs' in options ? options.bootsAfterMs : 3_000;
  const clock = fakeClock();
  const random = seededRandom(5);
  const switched: { to: 'on' | 'off'; at: number }[] = [];
  const shell = memoryShell({ clock });
  const host = shell.host('board1');
  let onSince: number | undefined = Number.NEGATIVE_INFINITY;
  let boots = 0;
  const outlet = memoryPower({
    clock,
    initially: 'on',
    onSwitched: (to) => {
      switched.push({ to, at: clock.now() });
      onSince = to === 'on' ? clock.now() : undefined;
      if (to === 'on') {
        world.hangs = false;
        boots += 1;
        host.fs.writeFile(bootIdPath, `boot-${boots}\n`);
      } else host.dropConnections();
    },
  });
  host.fs.makeFolder('/proc/sys/kernel/random', { recursive: true });
  host.fs.writeFile(bootIdPath, 'boot-0\n');
  const answersAfter = (): number => (boots === 0 ? 0 : (bootsAfterMs ?? Number.POSITIVE_INFINITY));
  host.isDown = () => world.hangs || onSince === undefined || clock.now() < onSince + answersAfter();

  const power = memoryPowerConnector();
  power.attach('outlet', outlet);
  const connectors = new Connectors({ shell, power });
  const folder = await mkdtemp(join(tmpdir(), 'bringup-power-'));
  const open = async (): Promise<Store> => {
    const opened = await Store.open(sqlite({ path: join(folder, 'lab.db') }), clock);
    watchInterventions(opened, clock);
    return opened;
  };
  const store = await open();
  const pool = new Pool({ store, clock, random, logger: silentLogger, connectors }, asGiven(method, sequence));
  const board = await pool.register({});
  const find = (id: string): Promise<Board> => pool.get(id);
  const stores = [store];
  let process = await start();

  /** A process of its own: with its own connection, so that a dead one has no part in what others commit. */
  async function start(): Promise<{ engine: WorkEngine; kill: () => void; power: PowerService }> {
    const own = await open();
    stores.push(own);
    let dead = false;
    const mortal: Clock = {
      now: () => clock.now(),
      timer: (delayMs, fire, timer) => clock.timer(delayMs, () => void (dead || fire()), timer),
    };
    const engine = new WorkEngine({ store: own, clock: mortal, random, logger: silentLogger });
    engine.register(new PowerHandler({ connectors, random, board: find, freeConsole: async () => undefined }));
    engine.start(workKinds);
    const power = new PowerService({ store: own, work: engine, connectors, clock: mortal, random, board: find });
    return {
      engine,
      power,
      kill: () => {
        dead = true;
      },
    };
  }

  const world: PowerWorld = {
    store,
    clock,
    board,
    alerts: new AlertService({ store, clock, random }),
    services: { clock, random },
    outlet,
    switched,
    hangs: false,
    get power() {
      return process.power;
    },
    get engine() {
      return process.engine;
    },
    restart: async () => {
      process.kill();
      process = await start();
    },
    view: () => pool.get(board.id),
    [Symbol.asyncDispose]: async () => {
      await process.engine[Symbol.asyncDispose]();
      for (const opened of stores) await opened[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
  return world;
}

const bootIdPath = '/proc/sys/kernel/random/boot_id';

/** The board as it is registered, without a look at it. */
function asGiven(
  method: PowerMethod,
  powerSequence: PowerSequence | undefined,
): ResourceKindModule<object, Board, null, BoardProfile> {
  return {
    kind: 'board',
    title: 'board',
    validate: (input) => input as object,
    nameOf: () => 'board1',
    labelsOf: () => ({}),
    quietFields: [],
    detect: async () => null,
    describe: () => ({
      name: 'board1',
      profile: {
        name: 'board1',
        hostname: 'board1',
        shell: 'memory',
        boardType: 'evaluation',
        architecture: 'arm64',
        peripherals: [],
        powerControl: { method, ...(method !== 'manual' && { power: 'memory', pduOutlet: 'outlet' }) },
        ...(powerSequence !== undefined && { powerSequence }),
      },
      capacity: { slots: 1, cpuCores: 1, memoryMb: 512, storageGb: 1 },
      architectures: ['arm64'],
      traits: [],
    }),
    view: (row, current) => boardKind.view(row, current),
  };
}
