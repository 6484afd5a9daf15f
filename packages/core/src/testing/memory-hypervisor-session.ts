import { throwIfAborted, withDeadline } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import type {
  Hypervisor,
  HypervisorCapabilities,
  OpenConsoleOptions,
  Screenshot,
  VmEvent,
  VmInfo,
  VmSpec,
} from '../contracts/hypervisor.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { checkVmSpec } from '../local/vm-spec.ts';
import type { MemoryConsole } from './memory-console.ts';
import type { MemoryHypervisorHost } from './memory-hypervisor-host.ts';

/** Calls of the in-memory hypervisor that can be made to fail. */
export type MemoryHypervisorCall =
  | 'connect'
  | 'capabilities'
  | 'listVms'
  | 'getVm'
  | 'createVm'
  | 'startVm'
  | 'resetVm'
  | 'injectNmi'
  | 'screenshot'
  | 'destroyVm'
  | 'openConsole';

/** What a session works with. */
export interface MemoryHypervisorWiring {
  readonly host: MemoryHypervisorHost;
  readonly clock: Clock;
  readonly capabilities: HypervisorCapabilities;
  readonly fileExists: (path: string) => Promise<boolean>;
  /** Throws the fault that is due for this call. */
  readonly takeFault: (call: MemoryHypervisorCall) => void;
}

/** A session of the in-memory hypervisor. */
export class MemoryHypervisor implements Hypervisor {
  readonly closed: Promise<Error | undefined>;
  readonly #settleClosed: (reason: Error | undefined) => void;
  readonly #wiring: MemoryHypervisorWiring;
  readonly #ended = new AbortController();
  readonly #consoles = new Set<MemoryConsole>();
  #lost: BringupError | undefined;

  constructor(wiring: MemoryHypervisorWiring) {
    this.#wiring = wiring;
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.closed = promise;
    this.#settleClosed = resolve;
  }

  get hostname(): string {
    return this.#wiring.host.hostname;
  }

  capabilities(options?: CallOptions): Promise<HypervisorCapabilities> {
    return this.#call('capabilities', options, async () => this.#wiring.capabilities);
  }

  listVms(options?: CallOptions): Promise<readonly VmInfo[]> {
    return this.#call('listVms', options, async () => this.#wiring.host.list());
  }

  getVm(name: string, options?: CallOptions): Promise<VmInfo | undefined> {
    return this.#call('getVm', options, async () => this.#wiring.host.get(name));
  }

  createVm(spec: VmSpec, options?: CallOptions): Promise<VmInfo> {
    return this.#call('createVm', options, async (signal) => {
      checkVmSpec(spec);
      this.#checkSupported(spec);
      await this.#checkFiles(spec);
      throwIfAborted(signal, `creating the VM ${spec.name}`);
      return this.#wiring.host.create(spec);
    });
  }

  startVm(name: string, options?: CallOptions): Promise<void> {
    return this.#call('startVm', options, async () => this.#wiring.host.start(name));
  }

  resetVm(name: string, options?: CallOptions): Promise<void> {
    return this.#call('resetVm', options, async () => this.#wiring.host.reset(name));
  }

  injectNmi(name: string, options?: CallOptions): Promise<void> {
    return this.#call('injectNmi', options, async () => this.#wiring.host.injectNmi(name));
  }

  screenshot(name: string, options?: CallOptions): Promise<Screenshot> {
    return this.#call('screenshot', options, async () => this.#wiring.host.screenshot(name));
  }

  destroyVm(name: string, options?: CallOptions): Promise<void> {
    return this.#call('destroyVm', options, async () => this.#wiring.host.destroy(name));
  }

  openConsole(name: string, options?: OpenConsoleOptions): Promise<Console> {
    return this.#call('openConsole', options, async () => {
      const console = this.#wiring.host.openConsole(name, options?.offset);
      this.#consoles.add(console);
      return console;
    });
  }

  async *events(options: CallOptions = {}): AsyncGenerator<VmEvent, void, void> {
    this.#checkUsable();
    const signal =
      options.signal === undefined ? this.#ended.signal : AbortSignal.any([this.#ended.signal, options.signal]);
    try {
      yield* this.#wiring.host.events.subscribe(signal);
    } catch (error) {
      if (this.#lost !== undefined) throw this.#lost;
      if (!this.#ended.signal.aborted) throw error;
    }
  }

  /** Ends the session: disposed by its owner, or cut for `lost`. */
  async end(lost?: BringupError): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#lost = lost;
    this.#ended.abort(lost);
    for (const console of this.#consoles) {
      if (lost === undefined) await console[Symbol.asyncDispose]();
      else console.cut();
    }
    this.#settleClosed(lost);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.end();
  }

  #call<T>(
    call: MemoryHypervisorCall,
    options: CallOptions = {},
    operation: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const what = `${call} on ${this.hostname}`;
    const bounded = { timeoutMs: limits.hypervisorCallTimeoutMs, ...options };
    return withDeadline(this.#wiring.clock, what, bounded, async (signal) => {
      this.#checkUsable();
      this.#wiring.takeFault(call);
      return operation(signal);
    });
  }

  #checkUsable(): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#ended.signal.aborted) throw new TypeError(`The hypervisor session with ${this.hostname} is disposed.`);
  }

  #checkSupported({ architecture, accelerator }: VmSpec): void {
    const { architectures, kvm } = this.#wiring.capabilities;
    if (!architectures.includes(architecture)) {
      throw new BringupError('unsupported', `${this.hostname} has no emulator for ${architecture}.`);
    }
    if (accelerator === 'kvm' && !kvm) {
      throw new BringupError('unsupported', `KVM is not proven on ${this.hostname}; use the accelerator auto or tcg.`);
    }
  }

  async #checkFiles({ name, kernel, initrd, deviceTree, rootfs }: VmSpec): Promise<void> {
    for (const path of [kernel, initrd, deviceTree, rootfs?.path]) {
      if (path !== undefined && !(await this.#wiring.fileExists(path))) {
        throw new BringupError(
          'hypervisor-failed',
          `The VM ${name} could not be created on ${this.hostname}: could not open ${path}`,
        );
      }
    }
  }
}
