import { withDeadline } from '../async.ts';
import type {
  Hypervisor,
  HypervisorCapabilities,
  HypervisorConnector,
  HypervisorTarget,
} from '../contracts/hypervisor.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import { memoryGuests, type MemoryBoot } from './memory-guest.ts';
import { MemoryHypervisorHost } from './memory-hypervisor-host.ts';
import { MemoryHypervisor, type MemoryHypervisorCall } from './memory-hypervisor-session.ts';

/** Options of {@link memoryHypervisor}. */
export interface MemoryHypervisorOptions {
  /** Name by which hosts refer to it. Default `memory`. */
  readonly name?: string;
  /** The guest that every VM boots. Default {@link memoryGuests}`.tiny`. */
  readonly boot?: MemoryBoot;
  /** Default: the system's. */
  readonly clock?: Clock;
  /** What the hosts can do. Default: x86_64 and arm64 without KVM, 4 cores, 8 GiB. */
  readonly capabilities?: Partial<HypervisorCapabilities> | ((hostname: string) => Partial<HypervisorCapabilities>);
  /**
   * Whether the host has a file that a VM is to be made of; a VM of files that are not there is
   * refused as QEMU does. Default: asks the host's shell (`test -f`).
   */
  readonly fileExists?: (path: string) => boolean | Promise<boolean>;
}

/**
 * A hypervisor in memory whose guests are scripts. VMs belong to the host (by its hostname), outlive
 * sessions and end with the connector object. Faults are set on the connector.
 *
 * @example
 * ```ts
 * const hypervisor = memoryHypervisor({ boot: memoryGuests.panics, fileExists: () => true });
 * ```
 */
export function memoryHypervisor(options: MemoryHypervisorOptions = {}): MemoryHypervisorConnector {
  return new MemoryHypervisorConnector(options);
}

/** {@link memoryHypervisor}'s connector, with its faults. */
export class MemoryHypervisorConnector implements HypervisorConnector {
  readonly name: string;
  readonly #options: MemoryHypervisorOptions;
  readonly #clock: Clock;
  readonly #hosts = new Map<string, MemoryHypervisorHost>();
  readonly #sessions = new Set<MemoryHypervisor>();
  readonly #faults = new Map<MemoryHypervisorCall, BringupError[]>();

  constructor(options: MemoryHypervisorOptions) {
    this.name = options.name ?? 'memory';
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** A host as seen from the host itself: its VMs, whoever is connected; and their crashes. */
  host(hostname: string): MemoryHypervisorHost {
    const known = this.#hosts.get(hostname);
    if (known !== undefined) return known;
    const host = new MemoryHypervisorHost(hostname, this.#clock, this.#options.boot ?? memoryGuests.tiny);
    this.#hosts.set(hostname, host);
    return host;
  }

  /** The next `call` fails with `error`, before it does anything. Can be told several in a row. */
  failNext(call: MemoryHypervisorCall, error: BringupError): void {
    this.#faults.set(call, [...(this.#faults.get(call) ?? []), error]);
  }

  /** Cuts the sessions with one host, or with all: calls, consoles and events fail with `connection-lost`. */
  async disconnect(hostname?: string): Promise<void> {
    const cut = [...this.#sessions].filter((session) => hostname === undefined || session.hostname === hostname);
    await Promise.all(cut.map((session) => session.end(connectionLost(session.hostname))));
  }

  async connect(target: HypervisorTarget, shell: ShellSession, options: CallOptions = {}): Promise<Hypervisor> {
    const { hostname } = target.host;
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
    return withDeadline(this.#clock, `connecting to the hypervisor of ${hostname}`, bounded, async () => {
      this.#takeFault('connect');
      const { fileExists, capabilities } = this.#options;
      const session = new MemoryHypervisor({
        host: this.host(hostname),
        clock: this.#clock,
        capabilities: {
          ...defaultCapabilities,
          ...(typeof capabilities === 'function' ? capabilities(hostname) : capabilities),
        },
        fileExists: async (path) =>
          fileExists === undefined ? (await shell.exec(['test', '-f', path])).exitCode === 0 : fileExists(path),
        takeFault: (call) => this.#takeFault(call),
      });
      this.#sessions.add(session);
      void session.closed.then(() => this.#sessions.delete(session));
      return session;
    });
  }

  /** Closes every session; the VMs go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session[Symbol.asyncDispose]()));
  }

  #takeFault(call: MemoryHypervisorCall): void {
    const error = this.#faults.get(call)?.shift();
    if (error !== undefined) throw error;
  }
}

const defaultCapabilities: HypervisorCapabilities = {
  version: 'memory 1.0',
  architectures: ['x86_64', 'arm64'],
  kvm: false,
  nestedVirt: false,
  cpuCores: 4,
  memoryMb: 8192,
};

function connectionLost(hostname: string): BringupError {
  return new BringupError('connection-lost', `The connection to the hypervisor of ${hostname} was lost.`, {
    retryable: true,
  });
}
