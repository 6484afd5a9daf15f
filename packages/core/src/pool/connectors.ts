import { Cleanup } from '../cleanup.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { Hypervisor, HypervisorConnector } from '../contracts/hypervisor.ts';
import type { ShellConnector, ShellSession, ShellTarget } from '../contracts/shell.ts';
import type { Console, ConsoleConnector } from '../contracts/console.ts';
import type { FlashConnector, FlashStation, FlashTarget } from '../contracts/flash.ts';
import type { PowerConnector, PowerOutlet } from '../contracts/power.ts';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import type { CallMeter } from '../telemetry/measured.ts';
import type { ConnectorType } from '../telemetry/operations.ts';
import type { PowerControlConfig } from '../model/power.ts';
import type { Board, Connection, Host } from '../model/resource.ts';
import { userInfo } from 'node:os';

/** A host's two ways in, opened together. */
export interface HostSession extends AsyncDisposable {
  readonly shell: ShellSession;
  readonly hypervisor: Hypervisor;
}

/** Connectors as a lab is given them: one, or several of which the first is the default. */
export interface GivenConnectors {
  readonly shell?: ShellConnector | readonly ShellConnector[];
  readonly hypervisor?: HypervisorConnector | readonly HypervisorConnector[];
  readonly console?: ConsoleConnector | readonly ConsoleConnector[];
  readonly power?: PowerConnector | readonly PowerConnector[];
  readonly flash?: FlashConnector | readonly FlashConnector[];
}

/** The connectors a lab was given, by name, and how resources are reached through them. */
export class Connectors implements AsyncDisposable {
  readonly #shells: ReadonlyMap<string, ShellConnector>;
  readonly #hypervisors: ReadonlyMap<string, HypervisorConnector>;
  readonly #consoles: ReadonlyMap<string, ConsoleConnector>;
  readonly #powers: ReadonlyMap<string, PowerConnector>;
  readonly #flashes: ReadonlyMap<string, FlashConnector>;

  /** @param meter - measures what they are asked to do. */
  constructor(given: GivenConnectors = {}, meter?: CallMeter) {
    this.#shells = byName('shell', given.shell, meter);
    this.#hypervisors = byName('hypervisor', given.hypervisor, meter);
    this.#consoles = byName('console', given.console, meter);
    this.#powers = byName('power', given.power, meter);
    this.#flashes = byName('flash', given.flash, meter);
  }

  /** Name of the shell connector to use. @throws `invalid-input` when there is none of that name. */
  shellName(wanted: string | undefined): string {
    return known('shell', this.#shells, wanted).name;
  }

  /** Name of the hypervisor connector to use. @throws `invalid-input` when there is none of that name. */
  hypervisorName(wanted: string | undefined): string {
    return known('hypervisor', this.#hypervisors, wanted).name;
  }

  /** Connects to a resource. @throws as {@link ShellConnector.connect}. */
  async openShell(connection: Connection, options: CallOptions = {}): Promise<ShellSession> {
    return known('shell', this.#shells, connection.shell).connect(shellTarget(connection), {
      timeoutMs: limits.connectTimeoutMs,
      ...options,
    });
  }

  /** Name of the console connector to use. @throws `invalid-input` when there is none of that name. */
  consoleName(wanted: string | undefined): string {
    return known('console', this.#consoles, wanted).name;
  }

  /** Opens a board's serial console. @throws as {@link ConsoleConnector.open}; `unsupported` when it has none. */
  async openConsole(
    board: Pick<Board, 'name' | 'serialDevice' | 'serialBaudRate' | 'console'>,
    options: CallOptions = {},
  ): Promise<Console> {
    const { name, serialDevice: device, serialBaudRate: baudRate = limits.serialBaudRate } = board;
    if (device === undefined) {
      throw new BringupError('unsupported', `board ${name} has no serial console; register it with a serialDevice`);
    }
    const connector = known('console', this.#consoles, board.console);
    return connector.open({ name, device, baudRate }, { timeoutMs: limits.connectTimeoutMs, ...options });
  }

  /** Name of the power connector that serves a configuration; undefined for `manual`. @throws `invalid-input`. */
  powerName({ method, power }: PowerControlConfig): string | undefined {
    if (method === 'manual') return undefined;
    const wanted = power ?? [...this.#powers.values()].find(({ methods }) => methods.includes(method))?.name;
    const connector = known('power', this.#powers, wanted ?? `for ${method}`);
    if (connector.methods.includes(method)) return connector.name;
    throw invalidInput('the power control', [
      { path: 'powerControl.power', message: `connector '${connector.name}' can't switch a ${method}` },
    ]);
  }

  /** A board's outlet. @throws as {@link PowerConnector.open}; `unsupported` when a person has to switch it. */
  async openPower(config: PowerControlConfig, options: CallOptions = {}): Promise<PowerOutlet> {
    const name = this.powerName(config);
    if (name === undefined) {
      throw new BringupError('unsupported', 'its power is switched by hand');
    }
    return known('power', this.#powers, name).open(config, { timeoutMs: limits.connectTimeoutMs, ...options });
  }

  /** Name of the flash connector to use. @throws `invalid-input` when there is none of that name. */
  flashName(wanted: string | undefined): string {
    return known('flash', this.#flashes, wanted).name;
  }

  /** A board's flash station. @throws as {@link FlashConnector.open}; `unsupported` when it has none. */
  async openFlash(
    board: Pick<Board, 'id' | 'name' | 'boardType' | 'architecture' | 'flashStationId' | 'flash'>,
    { powerCycle, ...options }: CallOptions & Pick<FlashTarget, 'powerCycle'> = {},
  ): Promise<FlashStation> {
    const { id, name, boardType, architecture, flashStationId: stationId } = board;
    if (stationId === undefined) {
      throw new BringupError('unsupported', `board ${name} has no flash station; update it with a flashStationId`);
    }
    const connector = known('flash', this.#flashes, board.flash);
    const target: FlashTarget = {
      stationId,
      board: { id, name, boardType, architecture },
      ...(powerCycle !== undefined && { powerCycle }),
    };
    return connector.open(target, { timeoutMs: limits.connectTimeoutMs, ...options });
  }

  /** Connects to a host's shell and hypervisor. @throws as the two connectors. */
  async openHost(
    host: Connection & Pick<Host, 'hypervisor' | 'workspace'>,
    options: CallOptions = {},
  ): Promise<HostSession> {
    await using stack = new Cleanup();
    const shell = stack.use(await this.openShell(host, options));
    const hypervisor = stack.use(await this.openHypervisor(host, shell, options));
    const owned = stack.move();
    return { shell, hypervisor, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
  }

  /** Connects to a host's hypervisor over a session that its caller keeps open. @throws as the connector. */
  async openHypervisor(
    host: Connection & Pick<Host, 'hypervisor' | 'workspace'>,
    shell: ShellSession,
    options: CallOptions = {},
  ): Promise<Hypervisor> {
    const connector = known('hypervisor', this.#hypervisors, host.hypervisor);
    return connector.connect({ host: shellTarget(host), workspace: `${host.workspace}/vms` }, shell, {
      timeoutMs: limits.connectTimeoutMs,
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [
      ...this.#flashes.values(),
      ...this.#powers.values(),
      ...this.#consoles.values(),
      ...this.#hypervisors.values(),
      ...this.#shells.values(),
    ];
    await Promise.allSettled(all.map(async (connector) => connector[Symbol.asyncDispose]()));
  }
}

let account: string | undefined;

/** Asked once: it is read from the system's files each time. */
function ownAccount(): string {
  account ??= userInfo().username;
  return account;
}

function shellTarget(connection: Connection): ShellTarget {
  return {
    hostname: connection.hostname,
    username: connection.sshUsername ?? ownAccount(),
    ...(connection.ipAddress !== undefined && { address: connection.ipAddress }),
    ...(connection.sshPort !== undefined && { port: connection.sshPort }),
    ...(connection.sshKeyPath !== undefined && { keyPath: connection.sshKeyPath }),
  };
}

function byName<C extends { readonly name: string }>(
  what: ConnectorType,
  given: C | readonly C[] | undefined,
  meter: CallMeter | undefined,
): Map<string, C> {
  const connectors = given === undefined ? [] : Array.isArray(given) ? (given as readonly C[]) : [given as C];
  const map = new Map(connectors.map((connector) => [connector.name, meter?.connector(what, connector) ?? connector]));
  if (map.size !== connectors.length) throw new TypeError(`two ${what} connectors have the same name`);
  return map;
}

function known<C>(what: string, connectors: ReadonlyMap<string, C>, wanted: string | undefined): C {
  const connector = wanted === undefined ? [...connectors.values()][0] : connectors.get(wanted);
  if (connector !== undefined) return connector;
  throw new BringupError(
    'invalid-input',
    `there is no ${what} connector${wanted === undefined ? '' : ` '${wanted}'`}; the lab was given: ${[...connectors.keys()].join(', ') || 'none'}`,
    {
      details: {
        issues: [
          {
            path: what,
            message: wanted === undefined ? 'the lab has no such connector' : `unknown connector '${wanted}'`,
          },
        ],
      },
    },
  );
}
