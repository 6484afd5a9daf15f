import type { ArtifactStorage } from '../contracts/artifact-storage.ts';
import type { Notifier } from '../contracts/notifier.ts';
import type { Logger, Random } from '../contracts/runtime.ts';
import { openLab, type Lab, type LabOptions } from '../lab.ts';
import { roles, type Role } from '../model/role.ts';
import type {
  Board,
  BoardRegistration,
  BuildServer,
  BuildServerRegistration,
  Host,
  HostRegistration,
} from '../model/resource.ts';
import type { HypervisorCapabilities } from '../contracts/hypervisor.ts';
import { silentLogger } from '../runtime.ts';
import type { CommitSignal, StoreProvider } from '../store/provider.ts';
import { BringupError } from '../errors.ts';
import { fakeClock, type FakeClock } from './clock.ts';
import { memoryArtifactStorage, type MemoryArtifactStorage } from './memory-artifact-storage.ts';
import {
  memoryBuildScripts,
  plainMemoryBuild,
  type MemoryBuildFunction,
  type MemoryRepository,
} from './memory-build.ts';
import { MemoryBoard } from './memory-board.ts';
import { memoryConsole, type MemoryConsoleConnector } from './memory-console-connector.ts';
import { memoryFlashConnector, type MemoryFlashConnector } from './memory-flash-connector.ts';
import { MemoryController } from './memory-controller.ts';
import { MemoryJobs } from './memory-detached.ts';
import { memoryGuests, type MemoryBoot } from './memory-guest.ts';
import { memoryHypervisor, type MemoryHypervisorConnector } from './memory-hypervisor.ts';
import { memoryMachineScripts, type MemoryMachine } from './memory-machine.ts';
import { memoryVitals } from './memory-vitals.ts';
import type { MemoryNetwork } from './memory-network.ts';
import { memoryPowerConnector, type MemoryPowerConnector } from './memory-power-connector.ts';
import { memoryShell, type MemoryShell } from './memory-shell.ts';
import { MemoryDatabase, type MemoryAccessOptions } from './memory-store.ts';
import { seededRandom } from './random.ts';

/** Options of {@link memoryLab}. */
export interface MemoryLabOptions extends Pick<LabOptions, 'retention' | 'scrubBytesPerDay'> {
  /** Plays the recipe of every build. Default: {@link plainMemoryBuild}. */
  readonly build?: MemoryBuildFunction;
  /** What build servers can fetch, by URL or path. A repository that is not named here is missing. */
  readonly repositories?: Readonly<Record<string, MemoryRepository>>;
  /** The guest that every VM boots. Default {@link memoryGuests}`.passes`. */
  readonly guest?: MemoryBoot;
  /** The guest that boards boot when their power is cycled. Default {@link memoryGuests}`.shell`. */
  readonly boardGuest?: MemoryBoot;
  /** Where alerts go; they live as long as the lab. Default: nowhere. */
  readonly notifiers?: readonly Notifier[];
  /** Default: a new one. */
  readonly clock?: FakeClock;
  /** Of ids. Default 1. */
  readonly seed?: number;
  /** As in a real lab. Default: all but `health`, for watching machines takes simulated time. */
  readonly roles?: LabOptions['roles'];
  /** Default: silent. */
  readonly logger?: Logger;
  /** As in a real lab. Default: none beside the SDK's own. */
  readonly strategies?: LabOptions['strategies'];
  /** Where records are kept; one that other labs used is emptied by nobody. Default: a new one. */
  readonly database?: MemoryDatabase;
  /** Where records are kept instead, such as a file; then the lab can't be crashed. Default: `database`. */
  readonly store?: StoreProvider;
  /** Where artifacts are kept instead of the lab's `storage`. */
  readonly artifacts?: ArtifactStorage;
  /** Between the lab's processes and its machines. Default: none, calls take no time and arrive. */
  readonly network?: MemoryNetwork;
  /** Of the first process. */
  readonly process?: MemoryProcessOptions;
}

/** A process that opens a {@link MemoryLab}. */
export interface MemoryProcessOptions {
  /** Default `process`. */
  readonly name?: string;
  /** Of its ids and pauses. Default: the lab's. */
  readonly random?: Random;
  /** What it does for the lab. Default: as the lab's `roles`. */
  readonly roles?: readonly Role[];
  /** Carries word of its commits to the others, and of theirs to it. Default: none. */
  readonly signal?: CommitSignal;
  /** As {@link MemoryAccessOptions}`.onStatement`. */
  readonly onStatement?: MemoryAccessOptions['onStatement'];
}

/** A machine of a {@link MemoryLab} and how it is registered; all of it has defaults. */
export type MemoryServerOptions = Partial<BuildServerRegistration> & { readonly machine?: MemoryMachine };

/** As {@link MemoryServerOptions}, for a host. */
export type MemoryHostOptions = Partial<HostRegistration> & {
  readonly machine?: MemoryMachine;
  /** Of its hypervisor. Default: x86_64 and arm64 without KVM, and the machine's cores and memory. */
  readonly capabilities?: Partial<HypervisorCapabilities>;
};

/**
 * As {@link MemoryServerOptions}, for a board. It has a serial console, a PDU outlet, a flash station
 * and a shell unless it is said to be without.
 */
export type MemoryBoardOptions = Partial<BoardRegistration> & {
  readonly machine?: MemoryMachine;
  /** What it boots when its power is cycled. Default: the lab's `boardGuest`. */
  readonly guest?: MemoryBoot;
  readonly without?: readonly ('console' | 'power' | 'flash' | 'shell')[];
};

/** A lab in memory, and the world around it. */
export interface MemoryLab extends Lab {
  /** Time stands still until it is moved: `await lab.clock.runUntil(lab.builds.waitForBuild(id))`. */
  readonly clock: FakeClock;
  /** The targets and what goes wrong with them. */
  readonly shell: MemoryShell;
  /** The VMs and what goes wrong with them. */
  readonly hypervisor: MemoryHypervisorConnector;
  /** The serial consoles and what goes wrong with them. */
  readonly serialConsoles: MemoryConsoleConnector;
  /** The flash stations and what goes wrong with them. */
  readonly flashStations: MemoryFlashConnector;
  readonly storage: MemoryArtifactStorage;
  /** What build servers can fetch; can be changed at any time. */
  readonly repositories: Map<string, MemoryRepository>;
  /** Registers a build server; `build1`, `build2`… unless named. @throws as `registerServer`. */
  addServer(options?: MemoryServerOptions): Promise<BuildServer>;
  /** Registers a host; `host1`, `host2`… unless named. @throws as `registerHost`. */
  addHost(options?: MemoryHostOptions): Promise<Host>;
  /** Registers a board; `board1`, `board2`… unless named. @throws as `registerBoard`. */
  addBoard(options?: MemoryBoardOptions): Promise<Board>;
  /** A board as it stands on the desk: its power, its flash, its line. @throws `not-found`. */
  board(name: string): MemoryBoard;
  /** Changes what a machine is made of or busy with, from now on. */
  changeMachine(hostname: string, change: MemoryMachine): void;
  /** Cuts a machine's power and brings it back: connections, commands and VMs are gone, files are not. */
  reboot(hostname: string): void;
  /** Kills the lab as SIGKILL does a process: nothing is handed back, nothing more is written. */
  crash(): Promise<void>;
  /** Opens the lab again, after it was disposed of or crashed, in the same world. */
  reopen(): Promise<MemoryLab>;
  /** The process it is open in: it can be stopped, and its clock be wrong. */
  readonly process: MemoryController;
  /** Opens the lab in another process at the same time. */
  join(options?: MemoryProcessOptions): Promise<MemoryLab>;
}

/**
 * A whole lab in memory, for unit tests of programs that use the SDK: SQLite, artifacts, build
 * servers, hosts and boards in memory, simulated time, seeded ids. Commands, scripts and consoles
 * behave as on real machines; builds and guests are functions.
 *
 * @example
 * ```ts
 * await using lab = await memoryLab({ repositories: { 'https://git.example/linux.git': { branches: { main: 'a'.repeat(40) } } } });
 * await lab.addServer();
 * const build = await lab.builds.submitBuild({
 *   sourceRepository: 'https://git.example/linux.git',
 *   targetArchitecture: 'x86_64',
 *   buildConfig: { recipe: 'kernel' },
 * });
 * const { status } = await lab.clock.runUntil(lab.builds.waitForBuild(build.id));
 * ```
 */
export async function memoryLab(options: MemoryLabOptions = {}): Promise<MemoryLab> {
  const world = await makeWorld(options);
  return open(world, options.process);
}

interface World {
  readonly options: MemoryLabOptions;
  readonly database: MemoryDatabase;
  readonly clock: FakeClock;
  readonly random: ReturnType<typeof seededRandom>;
  readonly storage: MemoryArtifactStorage;
  readonly repositories: Map<string, MemoryRepository>;
  readonly machines: Map<string, MemoryMachine>;
  readonly capabilities: Map<string, Partial<HypervisorCapabilities>>;
  readonly jobs: MemoryJobs;
  readonly shell: MemoryShell;
  readonly hypervisor: MemoryHypervisorConnector;
  readonly boards: Map<string, MemoryBoard>;
  readonly outlets: MemoryPowerConnector;
  readonly consoles: MemoryConsoleConnector;
  readonly flashStations: MemoryFlashConnector;
}

async function makeWorld(options: MemoryLabOptions): Promise<World> {
  const clock = options.clock ?? fakeClock();
  const repositories = new Map(Object.entries(options.repositories ?? {}));
  const machines = new Map<string, MemoryMachine>();
  const capabilities = new Map<string, Partial<HypervisorCapabilities>>();
  const jobs = new MemoryJobs();
  const machineOf = (hostname: string): MemoryMachine => machines.get(hostname) ?? {};
  return {
    options,
    database: options.database ?? (await MemoryDatabase.open()),
    clock,
    random: seededRandom(options.seed ?? 1),
    storage: memoryArtifactStorage({ clock }),
    repositories,
    machines,
    capabilities,
    jobs,
    boards: new Map(),
    outlets: memoryPowerConnector(),
    consoles: memoryConsole({ clock }),
    flashStations: memoryFlashConnector({ clock }),
    shell: memoryShell({
      clock,
      scripts: new Map([
        ...jobs.scripts,
        ...memoryBuildScripts(repositories, options.build ?? plainMemoryBuild),
        ...memoryMachineScripts(machineOf),
        ...memoryVitals(machineOf),
      ]),
    }),
    hypervisor: memoryHypervisor({
      clock,
      boot: options.guest ?? memoryGuests.passes,
      capabilities: (hostname) => {
        const { cpuCores = 8, memoryMb = 16_384 } = machineOf(hostname);
        return { cpuCores, memoryMb, ...capabilities.get(hostname) };
      },
    }),
  };
}

async function open(world: World, processOptions: MemoryProcessOptions = {}): Promise<MemoryLab> {
  const { clock, shell, hypervisor, consoles, flashStations, storage, repositories, machines, random } = world;
  const { name, signal, onStatement } = processOptions;
  const { network } = world.options;
  const process = new MemoryController({
    ...(name !== undefined && { name }),
    ...(network !== undefined && { network }),
  });
  const ownClock = process.clock(clock);
  const access = world.database.access({
    clock: ownClock,
    ...(signal !== undefined && { signal }),
    ...(onStatement !== undefined && { onStatement }),
  });
  const lab = await openLab({
    store: world.options.store ?? access,
    artifacts: world.options.artifacts ?? storage,
    clock: ownClock,
    random: processOptions.random ?? random,
    roles: processOptions.roles ?? world.options.roles ?? roles.filter((role) => role !== 'health'),
    logger: world.options.logger ?? silentLogger,
    ...kept(world.options),
    strategies: world.options.strategies ?? [],
    ...(world.options.notifiers !== undefined && { notifiers: world.options.notifiers }),
    connectors: {
      shell: process.shell(shell),
      hypervisor: process.hypervisor(hypervisor),
      console: process.console(consoles),
      power: process.power(world.outlets),
      flash: process.flash(flashStations),
    },
  });
  const place = (prefix: string, named: string | undefined, machine: MemoryMachine | undefined): string => {
    const hostname = named ?? `${prefix}${[...machines.keys()].filter((name) => name.startsWith(prefix)).length + 1}`;
    machines.set(hostname, machine ?? machines.get(hostname) ?? {});
    return hostname;
  };
  return {
    ...lab,
    clock,
    shell,
    hypervisor,
    serialConsoles: consoles,
    flashStations,
    storage,
    repositories,
    addServer: ({ machine, ...registration } = {}) =>
      lab.buildServers.registerServer({ ...registration, hostname: place('build', registration.hostname, machine) }),
    addHost: ({ machine, capabilities, ...registration } = {}) => {
      const hostname = place('host', registration.hostname, machine);
      world.capabilities.set(hostname, capabilities ?? {});
      return lab.hosts.registerHost({ ...registration, hostname });
    },
    addBoard: ({ machine, guest, without = [], ...registration } = {}) => {
      const name = place('board', registration.name ?? registration.hostname, machine);
      if (!world.boards.has(name)) world.boards.set(name, makeBoard(world, name, guest));
      const has = (part: (typeof without)[number]): boolean => !without.includes(part);
      return lab.boards.registerBoard({
        name,
        boardType: 'evaluation',
        ...(has('shell') && { hostname: name }),
        ...(has('console') && { serialDevice: serialDevice(name) }),
        ...(has('power') && { powerControl: { method: 'network_pdu', pduAddress: 'pdu1', pduOutlet: name } }),
        ...(has('flash') && { flashStationId: stationId(name) }),
        ...registration,
      });
    },
    board: (name) => findBoard(world.boards, name),
    changeMachine: (hostname, change) => void machines.set(hostname, { ...machines.get(hostname), ...change }),
    reboot: (hostname) => {
      world.jobs.killAll(hostname);
      world.boards.get(hostname)?.powerGlitch();
      for (const { name } of hypervisor.host(hostname).list()) hypervisor.host(hostname).destroy(name);
      shell.host(hostname).dropConnections();
    },
    crash: async () => {
      access.cut();
      await process.kill();
    },
    reopen: () => open(world, processOptions),
    process,
    join: (options) => open(world, options),
  };
}

/** What the lab is given as it is. */
function kept({ retention, scrubBytesPerDay }: MemoryLabOptions): Pick<LabOptions, 'retention' | 'scrubBytesPerDay'> {
  return { ...(retention !== undefined && { retention }), ...(scrubBytesPerDay !== undefined && { scrubBytesPerDay }) };
}

const serialDevice = (board: string): string => `/dev/serial/${board}`;
const stationId = (board: string): string => `station-${board}`;

function makeBoard(world: World, name: string, guest: MemoryBoot | undefined): MemoryBoard {
  const board = new MemoryBoard({
    name,
    architecture: world.machines.get(name)?.architecture ?? 'x86_64',
    host: world.shell.host(name),
    clock: world.clock,
    guest: guest ?? world.options.boardGuest ?? memoryGuests.shell,
  });
  // Outlets are named as their boards are.
  world.outlets.attach(name, board.outlet);
  world.consoles.attach(serialDevice(name), board.line);
  world.flashStations.attach(stationId(name), board.flash);
  return board;
}

function findBoard(boards: ReadonlyMap<string, MemoryBoard>, name: string): MemoryBoard {
  const board = boards.get(name);
  if (board === undefined) throw new BringupError('not-found', `There is no board ${name} in this lab.`);
  return board;
}
