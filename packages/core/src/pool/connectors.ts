import { Cleanup } from '../cleanup.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { Hypervisor, HypervisorConnector } from '../contracts/hypervisor.ts';
import type { ShellConnector, ShellSession, ShellTarget } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Connection, Host } from '../model/resource.ts';
import { userInfo } from 'node:os';

/** A host's two ways in, opened together. */
export interface HostSession extends AsyncDisposable {
  readonly shell: ShellSession;
  readonly hypervisor: Hypervisor;
}

/** The connectors a lab was given, by name, and how resources are reached through them. */
export class Connectors implements AsyncDisposable {
  readonly #shells: ReadonlyMap<string, ShellConnector>;
  readonly #hypervisors: ReadonlyMap<string, HypervisorConnector>;

  constructor(shells: readonly ShellConnector[], hypervisors: readonly HypervisorConnector[]) {
    this.#shells = byName('shell', shells);
    this.#hypervisors = byName('hypervisor', hypervisors);
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

  /** Connects to a host's shell and hypervisor. @throws as the two connectors. */
  async openHost(
    host: Connection & Pick<Host, 'hypervisor' | 'workspace'>,
    options: CallOptions = {},
  ): Promise<HostSession> {
    const connector = known('hypervisor', this.#hypervisors, host.hypervisor);
    await using stack = new Cleanup();
    const shell = stack.use(await this.openShell(host, options));
    const hypervisor = stack.use(
      await connector.connect({ host: shellTarget(host), workspace: `${host.workspace}/vms` }, shell, {
        timeoutMs: limits.connectTimeoutMs,
        ...options,
      }),
    );
    const owned = stack.move();
    return { shell, hypervisor, [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose]() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [...this.#hypervisors.values(), ...this.#shells.values()];
    await Promise.allSettled(all.map(async (connector) => connector[Symbol.asyncDispose]()));
  }
}

function shellTarget(connection: Connection): ShellTarget {
  return {
    hostname: connection.hostname,
    username: connection.sshUsername ?? userInfo().username,
    ...(connection.ipAddress !== undefined && { address: connection.ipAddress }),
    ...(connection.sshPort !== undefined && { port: connection.sshPort }),
    ...(connection.sshKeyPath !== undefined && { keyPath: connection.sshKeyPath }),
  };
}

function byName<C extends { readonly name: string }>(what: string, connectors: readonly C[]): Map<string, C> {
  const map = new Map(connectors.map((connector) => [connector.name, connector]));
  if (map.size !== connectors.length) throw new TypeError(`two ${what} connectors have the same name`);
  return map;
}

function known<C>(what: string, connectors: ReadonlyMap<string, C>, wanted: string | undefined): C {
  const connector = wanted === undefined ? [...connectors.values()][0] : connectors.get(wanted);
  if (connector !== undefined) return connector;
  throw new BringupError(
    'invalid-input',
    `there is no ${what} connector '${wanted}'; the lab was given: ${[...connectors.keys()].join(', ')}`,
    { details: { issues: [{ path: what, message: `unknown connector '${wanted}'` }] } },
  );
}
