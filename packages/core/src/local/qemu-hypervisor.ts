import { randomUUID } from 'node:crypto';
import { availableParallelism, totalmem } from 'node:os';
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
import { startDeadline, type Deadline } from './deadline.ts';
import { qemuArguments } from './qemu-command.ts';
import { openQemuConsole, type QemuConsole } from './qemu-console.ts';
import { injectQemuNmi, qemuScreenshot, resetQemu } from './qemu-control.ts';
import { emulatorOf, emulatorVersion, type Emulators } from './qemu-emulators.ts';
import { claimQemuFolder, listQemuFolders, QemuFolder, type QemuRecord } from './qemu-folder.ts';
import { kvmArchitecture, kvmIsProven, nestedIsOn } from './qemu-kvm.ts';
import { endQemu, endsWithin, launchQemu, queryState, runQmp } from './qemu-process.ts';
import { QemuWatcher } from './qemu-watcher.ts';
import { VmEventFeed } from './vm-events.ts';
import { checkLocalDisk } from './disk-image.ts';
import { checkVmSpec, isVmName, notRunning } from './vm-spec.ts';

const resetBounds = { timeoutMs: limits.hypervisorCallTimeoutMs };

/** The VMs of one workspace on this machine. Holds nothing that they need: all is in their folders. */
export class QemuHypervisor implements Hypervisor {
  readonly closed: Promise<Error | undefined>;
  readonly #workspace: string;
  readonly #emulators: Emulators;
  readonly #clock: Clock;
  readonly #life = new AbortController();
  readonly #feed = new VmEventFeed();
  readonly #watcher: QemuWatcher;
  readonly #consoles = new Set<QemuConsole>();
  #watching: Promise<void> | undefined;
  #kvm: Promise<boolean> | undefined;

  constructor(workspace: string, emulators: Emulators, clock: Clock) {
    this.#workspace = workspace;
    this.#emulators = emulators;
    this.#clock = clock;
    this.#watcher = new QemuWatcher(workspace, clock, this.#feed);
    this.closed = new Promise((resolve) => {
      this.#life.signal.addEventListener('abort', () => resolve(undefined), { once: true });
    });
  }

  capabilities(options?: CallOptions): Promise<HypervisorCapabilities> {
    return this.#call('asking what QEMU can do', options, async (deadline) => {
      const [emulator] = this.#emulators.values();
      if (emulator === undefined) throw new TypeError('A session needs an emulator.');
      const kvm = await deadline.race(this.#kvmProven());
      return {
        version: await emulatorVersion(emulator, deadline.signal),
        architectures: [...this.#emulators.keys()],
        kvm,
        nestedVirt: kvm && (await nestedIsOn()),
        cpuCores: availableParallelism(),
        memoryMb: Math.floor(totalmem() / 2 ** 20),
      };
    });
  }

  listVms(options?: CallOptions): Promise<readonly VmInfo[]> {
    return this.#call('listing VMs', options, async ({ signal }) => {
      await this.#watching;
      const folders = await listQemuFolders(this.#workspace);
      const infos = await Promise.all(folders.map((folder) => this.#info(folder, signal)));
      return infos.filter((info) => info !== undefined);
    });
  }

  getVm(name: string, options?: CallOptions): Promise<VmInfo | undefined> {
    return this.#call(`looking up the VM ${name}`, options, async ({ signal }) =>
      isVmName(name) ? this.#info(this.#folder(name), signal) : undefined,
    );
  }

  createVm(spec: VmSpec, options?: CallOptions): Promise<VmInfo> {
    return this.#call(`creating the VM ${spec.name}`, options, async (deadline) => {
      checkVmSpec(spec);
      if (spec.rootfs !== undefined) await deadline.race(checkLocalDisk(spec.rootfs));
      const emulator = emulatorOf(this.#emulators, spec.architecture);
      const accelerator = await deadline.race(this.#accelerator(spec));
      deadline.signal.throwIfAborted();
      const record: QemuRecord = { id: randomUUID(), spec };
      const folder = await claimQemuFolder(this.#workspace, record);
      try {
        await launchQemu(emulator, qemuArguments(spec, record.id, accelerator), folder, deadline.signal);
        await folder.mark('created');
        deadline.signal.throwIfAborted();
      } catch (error) {
        await endQemu(folder, record.id, this.#clock);
        await folder.remove();
        throw error;
      }
      return { name: spec.name, state: 'paused', tags: { ...spec.tags } };
    });
  }

  startVm(name: string, options?: CallOptions): Promise<void> {
    return this.#call(`starting the VM ${name}`, options, async ({ signal }) => {
      const { folder, record } = await this.#find(name);
      const { phase } = await folder.life(record.id);
      if (phase !== 'alive') {
        throw new BringupError(
          'hypervisor-failed',
          `The VM ${name} can't be started: it is ${phase}. Destroy and create it.`,
          { details: { name, phase } },
        );
      }
      // Ahead of the fact, so that a guest that ends at once is still known to have started.
      await folder.mark('started');
      await runQmp(folder, this.#clock, signal, (qmp) => qmp.execute('cont'));
    });
  }

  resetVm(name: string, options?: CallOptions): Promise<void> {
    // Goes on behind an aborted call: the guest must not keep what it is allowed for a moment.
    return this.#call(`resetting the VM ${name}`, options, async (deadline) => {
      const folder = await this.#running(name, deadline.signal);
      const own = startDeadline(this.#clock, `resetting ${name}`, resetBounds, new AbortController().signal);
      const reset = resetQemu({ folder, clock: this.#clock, signal: own.signal });
      await deadline.race(reset.finally(() => own[Symbol.dispose]()));
    });
  }

  injectNmi(name: string, options?: CallOptions): Promise<void> {
    return this.#call(`sending an NMI to the VM ${name}`, options, async ({ signal }) =>
      injectQemuNmi({ folder: await this.#running(name, signal), clock: this.#clock, signal }),
    );
  }

  screenshot(name: string, options?: CallOptions): Promise<Screenshot> {
    return this.#call(`taking a screenshot of the VM ${name}`, options, async ({ signal }) =>
      qemuScreenshot({ folder: await this.#running(name, signal), clock: this.#clock, signal }),
    );
  }

  destroyVm(name: string, options?: CallOptions): Promise<void> {
    return this.#call(`destroying the VM ${name}`, options, async (deadline) => {
      if (!isVmName(name)) return;
      const folder = this.#folder(name);
      const record = await folder.record();
      // Goes on behind an aborted call: a VM half gone is no use to anybody.
      await deadline.race(
        (async () => {
          if (record !== undefined) await endQemu(folder, record.id, this.#clock);
          await folder.remove();
        })(),
      );
    });
  }

  openConsole(name: string, options?: OpenConsoleOptions): Promise<Console> {
    return this.#call(`opening the console of the VM ${name}`, options, async ({ signal }) => {
      const { folder, record } = await this.#find(name);
      const target = { folder, id: record.id, clock: this.#clock, offset: options?.offset ?? 0 };
      const console = await openQemuConsole(target);
      this.#consoles.add(console);
      void console.closed.then(() => this.#consoles.delete(console));
      if (signal.aborted) await console[Symbol.asyncDispose]();
      signal.throwIfAborted();
      return console;
    });
  }

  async *events(options: CallOptions = {}): AsyncGenerator<VmEvent, void, void> {
    this.#life.signal.throwIfAborted();
    this.#watching ??= this.#watcher.start();
    await this.#watching;
    yield* this.#feed.subscribe(options.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#life.signal.aborted) return;
    this.#life.abort(new TypeError('The session with the local QEMU is disposed.'));
    this.#watcher[Symbol.dispose]();
    this.#feed.close();
    await Promise.all([...this.#consoles].map((console) => console[Symbol.asyncDispose]()));
  }

  async #call<T>(what: string, options: CallOptions = {}, operation: (deadline: Deadline) => Promise<T>): Promise<T> {
    const bounded = { timeoutMs: limits.hypervisorCallTimeoutMs, ...options };
    using deadline = startDeadline(this.#clock, what, bounded, this.#life.signal);
    return await operation(deadline);
  }

  #folder(name: string): QemuFolder {
    return new QemuFolder(this.#workspace, name);
  }

  async #find(name: string): Promise<{ readonly folder: QemuFolder; readonly record: QemuRecord }> {
    const folder = this.#folder(name);
    const record = isVmName(name) ? await folder.record() : undefined;
    if (record !== undefined) return { folder, record };
    throw new BringupError('not-found', `There is no VM named ${name} in ${this.#workspace}.`, { details: { name } });
  }

  async #running(name: string, signal: AbortSignal): Promise<QemuFolder> {
    const { folder } = await this.#find(name);
    const state = (await this.#info(folder, signal))?.state;
    if (state === 'running') return folder;
    throw notRunning(name, state);
  }

  async #info(folder: QemuFolder, signal: AbortSignal): Promise<VmInfo | undefined> {
    const record = await folder.record();
    if (record === undefined) return undefined;
    const { name, tags } = record.spec;
    const { phase, started } = await folder.life(record.id);
    if (phase === 'half-created') return { name, state: 'stopped', tags };
    if (phase !== 'alive') return { name, state: phase, tags };
    // QEMU 7.2 can hang for ever when it is asked while it exits; who only reads must not wait for that.
    const patience = { timeoutMs: limits.qmpPatienceMs };
    using asking = startDeadline(this.#clock, `asking the QEMU of ${name}`, patience, signal);
    try {
      return { name, state: await asking.race(queryState(folder, this.#clock, asking.signal)), tags };
    } catch (error) {
      signal.throwIfAborted();
      if (asking.signal.aborted) return { name, state: started ? 'running' : 'paused', tags };
      // QEMU closes its sockets a moment before it is gone.
      const pid = await folder.livePid(record.id);
      if (pid !== undefined && !(await endsWithin(pid, record.id, limits.killGraceMs, this.#clock))) throw error;
      return await this.#info(folder, signal);
    }
  }

  async #accelerator({ accelerator = 'auto', architecture }: VmSpec): Promise<'kvm' | 'tcg'> {
    if (accelerator === 'tcg') return 'tcg';
    const kvm = architecture === kvmArchitecture && (await this.#kvmProven());
    if (kvm) return 'kvm';
    if (accelerator === 'auto') return 'tcg';
    throw new BringupError(
      'unsupported',
      `No ${architecture} guest was seen to run under KVM on this machine; use the accelerator auto or tcg.`,
    );
  }

  async #kvmProven(): Promise<boolean> {
    const emulator = kvmArchitecture === undefined ? undefined : this.#emulators.get(kvmArchitecture);
    if (emulator === undefined) return false;
    this.#kvm ??= kvmIsProven(emulator, this.#workspace, this.#clock);
    return this.#kvm;
  }
}
