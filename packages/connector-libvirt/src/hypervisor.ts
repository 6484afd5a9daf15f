import {
  BringupError,
  checkVmSpec,
  invalidInput,
  isVmName,
  limits,
  notRunning,
  throwIfAborted,
  vmStuck,
  withDeadline,
} from '@bringup/core';
import type {
  CallOptions,
  Clock,
  Console,
  Hypervisor,
  HypervisorCapabilities,
  OpenConsoleOptions,
  Screenshot,
  ShellSession,
  VmEvent,
  VmInfo,
  VmSpec,
} from '@bringup/core';
import { formatVersion, parseCapabilities } from './capabilities.ts';
import type { HostCapabilities } from './capabilities.ts';
import { openVmConsole } from './console-open.ts';
import { domainScreenshot, injectDomainNmi, resetDomain } from './control.ts';
import type { Daemon } from './daemon.ts';
import type { DomainRef } from './domain.ts';
import { domainXml } from './domain-xml.ts';
import type { VmEvents } from './events.ts';
import { isRemoteError, virError } from './rpc/remote-error.ts';
import { DomainSnapshots } from './snapshots.ts';
import type { LibvirtSnapshots } from './snapshots.ts';
import { HostStorage } from './storage.ts';
import type { LibvirtStorage } from './storage.ts';
import { TagCache } from './tag-cache.ts';
import { VmFolder } from './vm-folder.ts';
import { within } from './within.ts';

/** A session with a host's libvirt: what every hypervisor has, and what libvirt has beside it. */
export interface LibvirtSession extends Hypervisor {
  readonly storage: LibvirtStorage;
  readonly snapshots: LibvirtSnapshots;
}

/** What a {@link LibvirtHypervisor} is made of. */
export interface HypervisorParts {
  readonly daemon: Daemon;
  readonly events: VmEvents;
  readonly shell: ShellSession;
  readonly hostname: string;
  readonly workspace: string;
  readonly clock: Clock;
  /** A further connection to the same daemon, without keepalive, for a console. */
  readonly openLine: (options: CallOptions) => Promise<Daemon>;
  /** Whether KVM is proven on this host; remembered by the connector. */
  readonly kvmProven: (host: HostCapabilities, options: CallOptions) => Promise<boolean>;
}

/** How long putting things straight after a failure may take. */
const cleanUpTimeoutMs = 15_000;

const nestedScript = `
for f in /sys/module/kvm_intel/parameters/nested /sys/module/kvm_amd/parameters/nested; do
  [ -r "$f" ] && cat "$f"
done
exit 0
`;

/** VMs on one host through libvirt. */
export class LibvirtHypervisor implements LibvirtSession {
  readonly storage: LibvirtStorage;
  readonly snapshots: LibvirtSnapshots;
  readonly closed: Promise<Error | undefined>;
  readonly #parts: HypervisorParts;
  readonly #tags: TagCache;
  readonly #consoles = new Set<Console>();
  /** VMs this session created and did not start: nothing was said on their consoles. */
  readonly #unstarted = new Set<string>();
  #host: HostCapabilities | undefined;
  #disposed: Promise<void> | undefined;

  constructor(parts: HypervisorParts) {
    this.#parts = parts;
    this.#tags = new TagCache(parts.daemon);
    this.closed = parts.daemon.connection.closed;
    this.storage = new HostStorage({ ...parts, enter: (what, options) => void this.#enter(what, options) });
    this.snapshots = new DomainSnapshots({
      connection: parts.daemon.connection,
      domain: async (name, mustBeOurs, options) => {
        this.#enter('snapshots', options);
        const domain = await this.#find(name, options);
        if (mustBeOurs) await this.#checkOurs(domain, options);
        return domain;
      },
    });
  }

  /** What every call begins with. */
  #enter(what: string, options: CallOptions): Daemon {
    if (this.#disposed !== undefined) throw new TypeError('The hypervisor has been disposed.');
    throwIfAborted(options.signal, what);
    return this.#parts.daemon;
  }

  async #hostCapabilities(options: CallOptions): Promise<HostCapabilities> {
    this.#host ??= parseCapabilities(await this.#parts.daemon.capabilities(options));
    return this.#host;
  }

  async capabilities(options: CallOptions = {}): Promise<HypervisorCapabilities> {
    const daemon = this.#enter('capabilities', options);
    const [host, node, totalKb, version, nested] = await Promise.all([
      this.#hostCapabilities(options),
      daemon.nodeInfo(options),
      daemon.totalMemoryKb(options),
      daemon.hypervisorVersion(options),
      this.#parts.shell.exec(['sh', '-c', nestedScript], options),
    ]);
    const kvm = await this.#parts.kvmProven(host, options);
    return {
      version: formatVersion('QEMU', version),
      architectures: host.emulated,
      kvm,
      nestedVirt: kvm && /^[Y1]/m.test(nested.stdout.toString('latin1')),
      cpuCores: node.cpus,
      memoryMb: Math.floor((totalKb ?? node.memoryKb) / 1024),
    };
  }

  async listVms(options: CallOptions = {}): Promise<readonly VmInfo[]> {
    const domains = await this.#enter('listVms', options).states(options);
    const tags = await this.#tags.ofAll(
      domains.map(({ domain }) => domain),
      options,
    );
    return domains.map(({ domain, state }, index) => ({ name: domain.name, state, tags: tags[index] ?? {} }));
  }

  async getVm(name: string, options: CallOptions = {}): Promise<VmInfo | undefined> {
    const daemon = this.#enter('getVm', options);
    const domain = await daemon.lookUp(name, options);
    if (domain === undefined) return undefined;
    const [state, tags] = await Promise.all([daemon.state(domain, options), this.#tags.of(domain, options)]);
    return state === undefined ? undefined : { name: domain.name, state, tags: tags ?? {} };
  }

  async createVm(spec: VmSpec, options: CallOptions = {}): Promise<VmInfo> {
    this.#enter('createVm', options);
    checkVmSpec(spec);
    return within(this.#parts.clock, `Creation of ${spec.name}`, options, (call) => this.#create(spec, call));
  }

  async #create(spec: VmSpec, options: CallOptions): Promise<VmInfo> {
    const { daemon } = this.#parts;
    const accelerator = await this.#accelerator(spec, options);
    const folder = this.#folder(spec.name);
    const overlay = spec.rootfs === undefined ? undefined : folder.overlay;
    const xml = domainXml(spec, { accelerator, consoleLog: folder.consoleLog, overlay });
    // Defining comes first, since it is what claims the name.
    const domain = await this.#define(spec.name, xml);
    try {
      throwIfAborted(options.signal, `Creation of ${spec.name}`);
      await folder.prepare(options);
      if (spec.rootfs !== undefined) await folder.overlayDisk(spec.rootfs, options);
      // Not to be given up half-way: a start that nobody waits for would undo the removal.
      await daemon.startPaused(domain, {});
      throwIfAborted(options.signal, `Creation of ${spec.name}`);
    } catch (error) {
      await this.#remove(domain, folder).catch(() => {});
      throw error;
    }
    this.#unstarted.add(spec.name);
    return { name: spec.name, state: 'paused', tags: spec.tags };
  }

  /** Not to be given up half-way either: nobody would know whether the name is ours. */
  async #define(name: string, xml: string): Promise<DomainRef> {
    const { daemon } = this.#parts;
    try {
      return await daemon.define(xml, {});
    } catch (error) {
      // libvirt has no number of its own for a name that is taken.
      const taken = isRemoteError(error, virError.operationFailed, virError.domainExists);
      if (taken && (await daemon.lookUp(name, {})) !== undefined) throw this.#nameTaken(name, error);
      throw error;
    }
  }

  #nameTaken(name: string, cause: unknown): BringupError {
    return new BringupError('conflict', `A VM named ${name} exists on ${this.#parts.hostname} already.`, {
      cause,
      details: { name },
    });
  }

  async #accelerator(spec: VmSpec, options: CallOptions): Promise<'kvm' | 'tcg'> {
    const { hostname } = this.#parts;
    const host = await this.#hostCapabilities(options);
    if (!host.emulated.includes(spec.architecture)) {
      throw new BringupError(
        'unsupported',
        `${hostname} has no emulator for ${spec.architecture}; it has ${host.emulated.join(', ') || 'none'}. Install qemu-system for it.`,
        { details: { hostname, architecture: spec.architecture, architectures: [...host.emulated] } },
      );
    }
    if (spec.accelerator === 'tcg') return 'tcg';
    const proven = host.host === spec.architecture && (await this.#parts.kvmProven(host, options));
    if (proven) return 'kvm';
    if (spec.accelerator !== 'kvm') return 'tcg';
    throw new BringupError(
      'unsupported',
      `No guest has been seen to run under KVM on ${hostname} for ${spec.architecture}. Use the accelerator auto or tcg.`,
      { details: { hostname, architecture: spec.architecture } },
    );
  }

  async startVm(name: string, options: CallOptions = {}): Promise<void> {
    const daemon = this.#enter('startVm', options);
    const domain = await this.#find(name, options);
    this.#unstarted.delete(name);
    try {
      await daemon.resume(domain, options);
    } catch (error) {
      if (isRemoteError(error, virError.operationInvalid) && (await daemon.state(domain, options)) === 'running')
        return;
      throw error;
    }
  }

  async #find(name: string, options: CallOptions): Promise<DomainRef> {
    const domain = await this.#parts.daemon.lookUp(name, options);
    if (domain === undefined) {
      throw new BringupError('not-found', `There is no VM named ${name} on ${this.#parts.hostname}.`, {
        details: { name },
      });
    }
    return domain;
  }

  async resetVm(name: string, options: CallOptions = {}): Promise<void> {
    const daemon = this.#enter('resetVm', options);
    const { clock, events } = this.#parts;
    const bounds = { timeoutMs: limits.hypervisorCallTimeoutMs, ...options };
    await withDeadline(clock, `Reset of ${name}`, bounds, async (signal) =>
      resetDomain(daemon, events, clock, await this.#running(name, { signal })),
    );
  }

  async injectNmi(name: string, options: CallOptions = {}): Promise<void> {
    const daemon = this.#enter('injectNmi', options);
    await injectDomainNmi(daemon, await this.#running(name, options), options);
  }

  async screenshot(name: string, options: CallOptions = {}): Promise<Screenshot> {
    this.#enter('screenshot', options);
    const { clock, openLine } = this.#parts;
    const bounds = { timeoutMs: limits.hypervisorCallTimeoutMs, ...options };
    return within(clock, `Screenshot of ${name}`, bounds, async (call) => {
      const domain = await this.#running(name, call);
      return domainScreenshot(openLine, domain, call);
    });
  }

  async #running(name: string, options: CallOptions): Promise<DomainRef> {
    const domain = await this.#find(name, options);
    const state = await this.#parts.daemon.state(domain, options);
    if (state === 'running') return domain;
    throw notRunning(name, state);
  }

  async destroyVm(name: string, options: CallOptions = {}): Promise<void> {
    const daemon = this.#enter('destroyVm', options);
    await within(this.#parts.clock, `Removal of ${name}`, options, (call) => this.#destroy(daemon, name, call));
  }

  async #destroy(daemon: Daemon, name: string, options: CallOptions): Promise<void> {
    const domain = await daemon.lookUp(name, options);
    const folder = this.#folder(name);
    if (domain === undefined) {
      if (isVmName(name)) await folder.remove(options);
      return;
    }
    await this.#checkOurs(domain, options);
    this.#unstarted.delete(name);
    try {
      await daemon.destroy(domain, options);
    } catch (error) {
      throw (await this.#isStuck(domain, error, options)) ? stuckInItsStart(name, this.#parts.hostname) : error;
    }
    await daemon.undefine(domain, options);
    this.#tags.forget(domain);
    await folder.remove(options);
  }

  /** Whether libvirt waited its 30 s for a start to end whose libvirtd has crashed. */
  async #isStuck(domain: DomainRef, error: unknown, options: CallOptions): Promise<boolean> {
    return isRemoteError(error, virError.operationTimeout) && (await this.#parts.daemon.isStarting(domain, options));
  }

  async #checkOurs(domain: DomainRef, options: CallOptions): Promise<void> {
    if ((await this.#tags.of(domain, options)) !== undefined) return;
    const { name } = domain;
    throw new BringupError(
      'conflict',
      `The VM ${name} on ${this.#parts.hostname} was not created by bringup and is left alone. Use virsh for it.`,
      { details: { name } },
    );
  }

  async openConsole(name: string, options: OpenConsoleOptions = {}): Promise<Console> {
    this.#enter('openConsole', options);
    const offset = options.offset ?? 0;
    if (!Number.isSafeInteger(offset) || offset < 0)
      throw invalidInput('The console offset', [{ path: 'offset', message: 'must be a whole number of bytes' }]);
    return within(
      this.#parts.clock,
      `Console of ${name}`,
      { timeoutMs: limits.hypervisorCallTimeoutMs, ...options },
      async (call) => {
        const domain = await this.#find(name, call);
        const opening = {
          ...this.#parts,
          domain,
          folder: this.#folder(name),
          unstarted: () => this.#unstarted.has(name),
        };
        const console: Console = await openVmConsole(opening, {
          ...call,
          offset,
          onDispose: () => this.#consoles.delete(console),
        });
        this.#consoles.add(console);
        return console;
      },
    );
  }

  events(options: CallOptions = {}): AsyncIterable<VmEvent> {
    if (this.#disposed !== undefined) throw new TypeError('The hypervisor has been disposed.');
    return this.#parts.events.read(options.signal);
  }

  #folder(name: string): VmFolder {
    return new VmFolder(this.#parts.shell, this.#parts.workspace, name);
  }

  /** Takes a half-made VM away, whatever the caller's signal says by now. */
  async #remove(domain: DomainRef, folder: VmFolder): Promise<void> {
    const { clock, daemon } = this.#parts;
    await withDeadline(clock, `Removal of ${domain.name}`, { timeoutMs: cleanUpTimeoutMs }, async (signal) => {
      await daemon.destroy(domain, { signal });
      await daemon.undefine(domain, { signal });
      await folder.remove({ signal });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= (async () => {
      await Promise.all([...this.#consoles].map((console) => console[Symbol.asyncDispose]()));
      await this.#parts.daemon[Symbol.asyncDispose]();
    })();
    await this.#disposed;
  }
}

/**
 * A libvirtd (9.0) that crashes after it has written down that it starts a domain, and before it has written down the
 * process, reads the first when it comes back, has no process to look after, and never ends that start: every job of the
 * domain waits for it. Nothing runs, and no call of its API changes it.
 */
function stuckInItsStart(name: string, hostname: string): BringupError {
  return vmStuck(
    name,
    `libvirtd on ${hostname} crashed as it was starting it, and has waited for the end of that start ever since. ` +
      `Stop libvirtd there (VMs go on running), remove /run/libvirt/qemu/${name}.xml, and start it again.`,
  );
}
