import type { VmInfo } from '../contracts/hypervisor.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { BuildJob } from '../model/build.ts';
import type { Flash, FlashRequest } from '../model/flash.ts';
import type {
  Board,
  BoardRegistration,
  BuildServer,
  BuildServerCapacity,
  BuildServerRegistration,
  Changes,
  Host,
  HostCapacity,
  HostRegistration,
  Toolchain,
} from '../model/resource.ts';
import type { ListOptions } from '../model/page.ts';
import type { PowerEvent } from '../model/power.ts';
import { averageBuildSeconds, buildServerCapacity, hostCapacity } from './capacity.ts';
import type { Connectors } from './connectors.ts';
import type { PoolOptions } from './look.ts';
import type { Pool } from './pool.ts';

/** How a resource is taken out of the pool. */
export interface DecommissionOptions extends CallOptions {
  /**
   * Even though it is in use: what is on it is ended first, as `lab.workloads.release` does, so builds
   * are cancelled and environments given back. When that takes longer than `timeoutMs`, or is aborted,
   * the resource stays, in maintenance. Default false.
   */
  readonly force?: boolean;
}

/** Takes a resource of any kind out of its pool. */
export type Decommission = (
  pool: {
    setMaintenance(id: string, on: boolean): Promise<unknown>;
    remove(id: string, options: { readonly force?: boolean }): Promise<void>;
  },
  id: string,
  options?: DecommissionOptions,
) => Promise<void>;

/** All about one build server. */
export interface BuildServerDetail {
  readonly server: BuildServer;
  readonly capacity: BuildServerCapacity;
  readonly currentBuilds: readonly BuildJob[];
  /** The last builds there, newest first. */
  readonly recentBuilds: readonly BuildJob[];
  /** Recent builds count more; absent before the first one succeeded. */
  readonly averageBuildTimeSeconds?: number;
}

/** What the pool does not know of builds itself. */
export interface BuildLookup {
  /** Of those ids that are builds. */
  byIds(ids: readonly string[]): Promise<readonly BuildJob[]>;
  /** Builds of a server, newest first. */
  ofServer(serverId: string): Promise<readonly BuildJob[]>;
}

/** Build servers of the lab. */
export interface BuildServerService {
  /**
   * Proves that the server can be reached and has the compilers it should, then adds it.
   * @throws `invalid-input`, `conflict`, `connection-failed`, `authentication-failed`,
   * `host-key-unknown`, `host-key-changed`, `toolchain-missing`.
   */
  registerServer(registration: BuildServerRegistration, options?: CallOptions): Promise<BuildServer>;
  /** The same proof without adding anything. */
  validateServerConnectivity(registration: BuildServerRegistration, options?: CallOptions): Promise<void>;
  /** @throws `not-found`. */
  getServerStatus(id: string): Promise<BuildServer>;
  /** One page. */
  getAllServers(options?: ListOptions): Promise<readonly BuildServer[]>;
  /** The server of that host name, when there is one. */
  findServer(hostname: string): Promise<BuildServer | undefined>;
  /** What was found at the last probe. @throws `not-found`. */
  getInstalledToolchains(id: string): Promise<readonly Toolchain[]>;
  /**
   * Changes what is named; `null` takes a field away. A change of more than labels, limits and recipes has the server
   * looked at anew; when that fails, nothing changes.
   * @throws as `registerServer`; `not-found`.
   */
  updateServer(id: string, changes: Changes<BuildServerRegistration>, options?: CallOptions): Promise<BuildServer>;
  /** What it has to give right now. @throws `not-found`. */
  getServerCapacity(id: string): Promise<BuildServerCapacity>;
  /** Builds that have a place there. @throws `not-found`. */
  getActiveBuilds(id: string): Promise<readonly BuildJob[]>;
  /** All about one server. @throws `not-found`. */
  getServerDetail(id: string): Promise<BuildServerDetail>;
  /** In maintenance no new builds go there. */
  setMaintenanceMode(id: string, on: boolean): Promise<BuildServer>;
  /** @throws `not-found`; `conflict` while builds run, unless `force`. */
  decommissionServer(id: string, options?: DecommissionOptions): Promise<void>;
}

/** QEMU hosts of the lab. */
export interface HostService {
  /**
   * Proves that the host and its hypervisor can be reached, then adds it with what was detected.
   * @throws `invalid-input`, `conflict`, `connection-failed`, `authentication-failed`,
   * `host-key-unknown`, `host-key-changed`, `dependency-missing`.
   */
  registerHost(registration: HostRegistration, options?: CallOptions): Promise<Host>;
  /** The same proof without adding anything. */
  validateHostConnectivity(registration: HostRegistration, options?: CallOptions): Promise<void>;
  /** @throws `not-found`. */
  getHostStatus(id: string): Promise<Host>;
  /** One page. */
  getAllHosts(options?: ListOptions): Promise<readonly Host[]>;
  /** The host of that host name, when there is one. */
  findHost(hostname: string): Promise<Host | undefined>;
  /**
   * Changes what is named; `null` takes a field away. A change of more than labels and limits has the host looked at
   * anew; when that fails, nothing changes.
   * @throws as `registerHost`; `not-found`.
   */
  updateHost(id: string, changes: Changes<HostRegistration>, options?: CallOptions): Promise<Host>;
  /** What it has to give right now. @throws `not-found`. */
  getHostCapacity(id: string): Promise<HostCapacity>;
  /**
   * The VMs that run there, as its hypervisor says: the lab's and others'.
   * @throws `not-found`, and those of the connectors.
   */
  getRunningVms(id: string, options?: CallOptions): Promise<readonly VmInfo[]>;
  /** In maintenance no new VMs go there. */
  setMaintenanceMode(id: string, on: boolean): Promise<Host>;
  /** @throws `not-found`; `conflict` while VMs run, unless `force`. */
  decommissionHost(id: string, options?: DecommissionOptions): Promise<void>;
}

/** Boards of the lab. */
export interface BoardService {
  /**
   * Proves that the board answers, by its shell or else on its serial console, that its outlet can be read and its
   * flash station opens; then adds it with what was detected.
   * @throws `invalid-input`, `conflict`, `connection-failed`, `authentication-failed`, `architecture-mismatch`, and
   * those of the console, power and flash connectors.
   */
  registerBoard(registration: BoardRegistration, options?: CallOptions): Promise<Board>;
  /** The same proof without adding anything. */
  validateBoardConnectivity(registration: BoardRegistration, options?: CallOptions): Promise<void>;
  /** @throws `not-found`. */
  getBoardStatus(id: string): Promise<Board>;
  /** One page. */
  getAllBoards(options?: ListOptions): Promise<readonly Board[]>;
  /** The board of that name, when there is one. */
  findBoard(name: string): Promise<Board | undefined>;
  /**
   * Changes what is named; `null` takes a field away. A change of how it is reached, powered or flashed has it looked
   * at anew; when that fails, nothing changes.
   * @throws as `registerBoard`; `not-found`.
   */
  updateBoard(id: string, changes: Changes<BoardRegistration>, options?: CallOptions): Promise<Board>;
  /**
   * Queues a flash of a board, without booting it. The board is taken for it, and waits its turn while it
   * is in use; one that is offline can be flashed, which is how it comes back.
   * @throws `invalid-input` with one issue per field, `not-found`, `artifact-not-found`,
   * `architecture-mismatch`; `unsupported` for a board without a flash station.
   */
  flashFirmware(id: string, request: FlashRequest): Promise<Flash>;
  /** In maintenance it can't be allocated. */
  setMaintenanceMode(id: string, on: boolean): Promise<Board>;
  /** @throws `not-found`; `conflict` while it is in use, unless `force`. */
  decommissionBoard(id: string, options?: DecommissionOptions): Promise<void>;
  /**
   * Runs the board's power sequence, off, a delay, on, and watches until it answers; the same as
   * `lab.power.powerCycle`.
   * @throws `not-found`, `conflict` while it is flashed or somebody else holds it, `power-failed`,
   * `boot-timeout` when it does not answer in time, `aborted`, `deadline-exceeded`.
   */
  powerCycleBoard(id: string, options?: PowerCycleOptions): Promise<PowerEvent>;
}

/** Options of {@link BoardService.powerCycleBoard} and of the calls of `lab.power`. */
export interface PowerCycleOptions extends CallOptions {
  /** Who asks, for the history. Default `user`. */
  readonly by?: string;
  /** Why, for the history. Default `on request`. */
  readonly reason?: string;
  /** Whoever holds the board: its power may be switched in their name. */
  readonly holder?: string;
  /** Even while somebody else holds it; never while it is being flashed. */
  readonly force?: boolean;
}

/** What is done to boards above the pool. */
export interface BoardControl {
  powerCycle(id: string, options?: PowerCycleOptions): Promise<PowerEvent>;
  flashFirmware(id: string, request: FlashRequest): Promise<Flash>;
}

/** The pool by the names of build servers. */
export function buildServers(
  { store, clock }: Pick<PoolOptions, 'store' | 'clock'>,
  pool: Pool<BuildServerRegistration, BuildServer>,
  builds: BuildLookup,
  decommission: Decommission,
): BuildServerService {
  const capacityOf = async (server: BuildServer): Promise<BuildServerCapacity> =>
    buildServerCapacity(store.db, await pool.row(server.id), server.queueDepth, clock.now());
  return {
    registerServer: (registration, options) => pool.register(registration, options),
    validateServerConnectivity: (registration, options) => pool.validate(registration, options),
    getServerStatus: (id) => pool.get(id),
    getAllServers: (options) => pool.list(options),
    findServer: (hostname) => pool.findByName(hostname),
    getInstalledToolchains: async (id) => (await pool.get(id)).toolchains,
    updateServer: (id, changes, options) => pool.update(id, changes, options),
    getServerCapacity: async (id) => capacityOf(await pool.get(id)),
    getActiveBuilds: async (id) => builds.byIds(await pool.holders((await pool.row(id)).id)),
    getServerDetail: async (id) => {
      const server = await pool.get(id);
      const averageBuildTimeSeconds = await averageBuildSeconds(store.db, id);
      return {
        server,
        capacity: await capacityOf(server),
        currentBuilds: await builds.byIds(await pool.holders(id)),
        recentBuilds: await builds.ofServer(id),
        ...(averageBuildTimeSeconds !== undefined && { averageBuildTimeSeconds }),
      };
    },
    setMaintenanceMode: (id, on) => pool.setMaintenance(id, on),
    decommissionServer: (id, options) => decommission(pool, id, options),
  };
}

/** The pool by the names of hosts. */
export function hosts(
  connectors: Connectors,
  pool: Pool<HostRegistration, Host>,
  decommission: Decommission,
): HostService {
  return {
    registerHost: (registration, options) => pool.register(registration, options),
    validateHostConnectivity: (registration, options) => pool.validate(registration, options),
    getHostStatus: (id) => pool.get(id),
    getAllHosts: (options) => pool.list(options),
    findHost: (hostname) => pool.findByName(hostname),
    updateHost: (id, changes, options) => pool.update(id, changes, options),
    getHostCapacity: async (id) => hostCapacity(await pool.row(id)),
    getRunningVms: async (id, options) => {
      await using session = await connectors.openHost(await pool.stored(id), options);
      return (await session.hypervisor.listVms(options)).filter(
        ({ state }) => state === 'running' || state === 'paused',
      );
    },
    setMaintenanceMode: (id, on) => pool.setMaintenance(id, on),
    decommissionHost: (id, options) => decommission(pool, id, options),
  };
}

/** The pool by the names of boards, and what is done with a board by others. */
export function boards(
  pool: Pool<BoardRegistration, Board>,
  control: BoardControl,
  decommission: Decommission,
): BoardService {
  return {
    flashFirmware: (id, request) => control.flashFirmware(id, request),
    registerBoard: (registration, options) => pool.register(registration, options),
    validateBoardConnectivity: (registration, options) => pool.validate(registration, options),
    getBoardStatus: (id) => pool.get(id),
    getAllBoards: (options) => pool.list(options),
    findBoard: (name) => pool.findByName(name),
    updateBoard: (id, changes, options) => pool.update(id, changes, options),
    setMaintenanceMode: (id, on) => pool.setMaintenance(id, on),
    decommissionBoard: (id, options) => decommission(pool, id, options),
    powerCycleBoard: (id, options) => control.powerCycle(id, options),
  };
}
