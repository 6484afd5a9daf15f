import type { Duplex } from 'node:stream';
import { BringupError, limits, systemClock, systemRandom, withDeadline } from '@bringup/core';
import type {
  CallOptions,
  Clock,
  Hypervisor,
  HypervisorConnector,
  HypervisorTarget,
  Random,
  ShellSession,
} from '@bringup/core';
import type { HostCapabilities } from './capabilities.ts';
import { Daemon } from './daemon.ts';
import { openTls, openUnencryptedTcp } from './direct.ts';
import type { LibvirtTls, LibvirtUnencryptedTcp } from './direct.ts';
import { VmEvents } from './events.ts';
import { LibvirtHypervisor } from './hypervisor.ts';
import type { LibvirtSession } from './hypervisor.ts';
import { provesKvm } from './kvm-proof.ts';
import type { LibvirtAccount } from './sign-in.ts';
import { openTransport } from './transport.ts';
import { within } from './within.ts';

/** Options of {@link libvirt}. */
export interface LibvirtOptions {
  /** Which of the host's daemons: `qemu:///system` (default) or `qemu:///session`. */
  readonly uri?: 'qemu:///system' | 'qemu:///session';
  /**
   * Path of the daemon's socket on the host. Default: the usual ones, the modular daemon's
   * (`virtqemud-sock`) first; where none can be forwarded, `virt-ssh-helper`.
   */
  readonly socketPath?: string;
  /**
   * Connects to the daemon's own TLS port instead of its socket, past the shell session. Files of VMs
   * still move through the shell.
   */
  readonly tls?: LibvirtTls;
  /**
   * Connects to the daemon's TCP port, where everybody on the way can read and change everything: only
   * for networks that nobody else is on. SASL is of no use there.
   */
  readonly unencryptedTcp?: LibvirtUnencryptedTcp;
  /** The daemon's own account, where it wants SASL: SCRAM-SHA-512, SCRAM-SHA-256 or, the line being private, PLAIN. */
  readonly sasl?: LibvirtAccount;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** For names of short-lived things on the host. Default: the runtime's own. */
  readonly random?: Random;
}

/** The connector that {@link libvirt} makes. */
export interface LibvirtConnector extends HypervisorConnector {
  connect(target: HypervisorTarget, shell: ShellSession, options?: CallOptions): Promise<LibvirtSession>;
}

/**
 * QEMU hosts managed by libvirt, through libvirt's own protocol: no native code, nothing to install
 * on the host beside libvirt. The connection runs through the shell session it is given, so the
 * same connector serves this machine and hosts behind SSH.
 *
 * @example
 * ```ts
 * await using shells = localShell();
 * await using connector = libvirt();
 * const host = { hostname: 'localhost', username: 'lab' };
 * await using shell = await shells.connect(host);
 * await using hypervisor = await connector.connect({ host, workspace: '/var/lib/bringup' }, shell);
 * console.log(await hypervisor.listVms());
 * ```
 */
export function libvirt(options: LibvirtOptions = {}): LibvirtConnector {
  const { tls, unencryptedTcp, socketPath } = options;
  if ([tls, unencryptedTcp, socketPath].filter((way) => way !== undefined).length > 1) {
    throw new TypeError('libvirt is reached one way: by socketPath, by tls or by unencryptedTcp.');
  }
  if (unencryptedTcp !== undefined && options.sasl !== undefined) {
    throw new TypeError('An account is not sent over an unencrypted line: use tls with sasl.');
  }
  return new Connector(options);
}

class Connector implements LibvirtConnector {
  readonly name = 'libvirt';
  readonly #options: LibvirtOptions;
  readonly #clock: Clock;
  readonly #sessions = new Set<Hypervisor>();
  /** Hosts by name and port, with whether KVM was proven on them. */
  readonly #kvmByHost = new Map<string, Promise<boolean>>();
  #disposed = false;

  constructor(options: LibvirtOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  async connect(target: HypervisorTarget, shell: ShellSession, options: CallOptions = {}): Promise<LibvirtSession> {
    if (this.#disposed) throw new TypeError('The libvirt connector has been disposed.');
    const deadline = { timeoutMs: limits.connectTimeoutMs, ...options };
    const what = `Connection to libvirt on ${target.host.hostname}`;
    const hypervisor = await within(this.#clock, what, deadline, (call) => this.#connect(target, shell, call));
    this.#sessions.add(hypervisor);
    void hypervisor.closed.then(() => this.#sessions.delete(hypervisor));
    return hypervisor;
  }

  get #uri(): string {
    return this.#options.uri ?? 'qemu:///system';
  }

  async #openLine({ host }: HypervisorTarget, shell: ShellSession, options: CallOptions): Promise<Duplex> {
    const { tls, unencryptedTcp, socketPath } = this.#options;
    if (tls !== undefined) return openTls(host, tls, options);
    if (unencryptedTcp !== undefined) return openUnencryptedTcp(host, unencryptedTcp, options);
    return openTransport(shell, { uri: this.#uri, socketPath, hostname: host.hostname }, options);
  }

  async #connect(target: HypervisorTarget, shell: ShellSession, call: CallOptions): Promise<LibvirtSession> {
    const { hostname } = target.host;
    const open = async (keepalive: boolean, options: CallOptions): Promise<Daemon> => {
      return Daemon.open(await this.#openLine(target, shell, options), {
        ...options,
        clock: this.#clock,
        peer: `libvirt on ${hostname}`,
        uri: this.#uri,
        keepalive,
        account: this.#options.sasl,
        confidential: this.#options.unencryptedTcp === undefined,
      });
    };
    const daemon = await open(true, call).catch((error: unknown) => {
      throw asConnectionFailed(error, hostname);
    });
    try {
      const events = await VmEvents.start(daemon, call);
      return new LibvirtHypervisor({
        daemon,
        events,
        shell,
        hostname,
        workspace: target.workspace,
        clock: this.#clock,
        openLine: (options) => open(false, options),
        kvmProven: (host, options) => this.#kvmProven(target, shell, daemon, host, options),
      });
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  #kvmProven(
    { host: { hostname, port }, workspace }: HypervisorTarget,
    shell: ShellSession,
    daemon: Daemon,
    { host, kvmOffered }: HostCapabilities,
    options: CallOptions,
  ): Promise<boolean> {
    if (host === undefined || !kvmOffered.includes(host)) return Promise.resolve(false);
    const key = `${hostname}:${port ?? ''}`;
    let proof = this.#kvmByHost.get(key);
    if (proof === undefined) {
      const parts = { daemon, shell, workspace, clock: this.#clock, random: this.#options.random ?? systemRandom };
      // Shared by all callers, so it heeds the signal of none.
      proof = provesKvm(parts, host);
      this.#kvmByHost.set(key, proof);
      // A proof that could not be finished says nothing about the host.
      proof.catch(() => this.#kvmByHost.delete(key));
    }
    const shared = proof;
    return withDeadline(this.#clock, 'KVM proof', options, () => shared);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all([...this.#sessions].map((session) => session[Symbol.asyncDispose]()));
  }
}

/** A connection that breaks while it is made was never there to be lost. */
function asConnectionFailed(error: unknown, hostname: string): unknown {
  if (!(error instanceof BringupError) || error.code !== 'connection-lost') return error;
  return new BringupError(
    'connection-failed',
    `libvirt on ${hostname} did not accept the connection: ${error.message}`,
    { cause: error, retryable: true, details: { hostname } },
  );
}
