import type { Screenshot, VmInfo, VmSpec, VmState } from '../contracts/hypervisor.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { VmEventFeed } from '../local/vm-events.ts';
import { notRunning, vmStuck } from '../local/vm-spec.ts';
import { MemoryLine, type MemoryConsole } from './memory-console.ts';
import { builtInCommands } from './memory-commands.ts';
import { runMemoryGuest, type MemoryBoot } from './memory-guest.ts';
import { MemoryHost } from './memory-host.ts';

interface MemoryVm {
  readonly spec: VmSpec;
  readonly line: MemoryLine;
  /** Aborts when the guest that runs loses its power. */
  power: AbortController;
  state: VmState;
}

/** One host of the in-memory hypervisor: its VMs outlive every session. */
export class MemoryHypervisorHost {
  readonly hostname: string;
  readonly events: VmEventFeed = new VmEventFeed();
  readonly #clock: Clock;
  readonly #boot: MemoryBoot;
  readonly #vms = new Map<string, MemoryVm>();
  readonly #stuck = new Set<string>();

  constructor(hostname: string, clock: Clock, boot: MemoryBoot) {
    this.hostname = hostname;
    this.#clock = clock;
    this.#boot = boot;
  }

  /** Every VM, ended ones included. */
  list(): readonly VmInfo[] {
    return [...this.#vms.values()].map(infoOf);
  }

  /** The VM of that name, when there is one. */
  get(name: string): VmInfo | undefined {
    const vm = this.#vms.get(name);
    return vm === undefined ? undefined : infoOf(vm);
  }

  /** Creates a VM, paused. @throws `conflict` when the name is taken. */
  create(spec: VmSpec): VmInfo {
    if (this.#vms.has(spec.name) || this.#stuck.has(spec.name)) {
      throw new BringupError('conflict', `A VM named ${spec.name} exists on ${this.hostname} already.`, {
        details: { name: spec.name },
      });
    }
    const vm: MemoryVm = {
      spec: structuredClone(spec),
      line: new MemoryLine(spec.name),
      power: new AbortController(),
      state: 'paused',
    };
    this.#vms.set(spec.name, vm);
    this.events.publish({ name: spec.name, type: 'created' });
    return infoOf(vm);
  }

  /** Boots a paused VM; harmless when it runs. @throws `not-found`; `hypervisor-failed` when it has ended. */
  start(name: string): void {
    const vm = this.#find(name);
    if (vm.state === 'running') return;
    if (vm.state !== 'paused') {
      throw new BringupError(
        'hypervisor-failed',
        `The VM ${name} can't be started: it has ${vm.state}. Destroy and create it.`,
      );
    }
    vm.state = 'running';
    this.events.publish({ name, type: 'started' });
    this.#run(vm);
  }

  #run(vm: MemoryVm): void {
    const { spec, line, power } = vm;
    const clock = this.#clock;
    const host = new MemoryHost(spec.name, {
      clock,
      commands: new Map(Object.entries(builtInCommands)),
      scripts: new Map(),
    });
    const stage = { spec, line, clock, host, signal: power.signal };
    void runMemoryGuest(this.#boot, stage).then((how) => {
      // A guest that was reset has ended, its VM has not.
      if (vm.power === power) this.#end(vm, how);
    });
  }

  /** Lets a running VM's guest boot anew. @throws `not-found`; `hypervisor-failed` when it does not run. */
  reset(name: string): void {
    const vm = this.#running(name);
    const { power } = vm;
    vm.power = new AbortController();
    power.abort(new BringupError('aborted', `The VM ${name} was reset.`));
    vm.line.dropInput();
    this.events.publish({ name, type: 'rebooted' });
    this.#run(vm);
  }

  /** Sends an NMI, for which no guest here has a handler: its VM stops. @throws as {@link reset}. */
  injectNmi(name: string): void {
    this.#end(this.#running(name), 'stopped');
  }

  /** One black dot. @throws as {@link reset}; `unsupported` for a VM without a display. */
  screenshot(name: string): Screenshot {
    if (this.#running(name).spec.display !== true) {
      throw new BringupError('unsupported', `The VM ${name} has no display; create it with one.`);
    }
    return { mimeType: 'image/x-portable-pixmap', image: Buffer.from('P6\n1 1\n255\n\0\0\0') };
  }

  /** Ends the VM as if its emulator had been killed. */
  crash(name: string): void {
    this.#end(this.#find(name), 'crashed');
  }

  /** What a VM has said so far; undefined when there is none of that name. */
  said(name: string): string | undefined {
    return this.#vms.get(name)?.line.said.toString();
  }

  /** From now on a VM can't be destroyed, nor its name be given to another, until `stuck` is false: see `vmStuck`. */
  stick(name: string, stuck = true): void {
    if (stuck) this.#stuck.add(name);
    else this.#stuck.delete(name);
  }

  /** Ends a VM and forgets it; harmless when there is none. @throws `hypervisor-failed` when it is stuck. */
  destroy(name: string): void {
    const vm = this.#vms.get(name);
    if (vm === undefined) return;
    if (this.#stuck.has(name)) throw vmStuck(name, 'It was told to; tell it otherwise.');
    this.#end(vm, 'stopped');
    this.#vms.delete(name);
    this.events.publish({ name, type: 'removed' });
  }

  /** Opens the console from a byte on, by default the first. @throws as {@link MemoryLine.open}, and `not-found`. */
  openConsole(name: string, offset: number | undefined): MemoryConsole {
    return this.#find(name).line.open(offset);
  }

  #running(name: string): MemoryVm {
    const vm = this.#find(name);
    if (vm.state !== 'running') throw notRunning(name, vm.state);
    return vm;
  }

  #find(name: string): MemoryVm {
    const vm = this.#vms.get(name);
    if (vm === undefined) throw new BringupError('not-found', `There is no VM named ${name} on ${this.hostname}.`);
    return vm;
  }

  #end(vm: MemoryVm, how: 'stopped' | 'crashed'): void {
    if (vm.state === 'stopped' || vm.state === 'crashed') return;
    vm.state = how;
    vm.line.end();
    vm.power.abort(new BringupError('aborted', `The VM ${vm.spec.name} has ended.`));
    this.events.publish({ name: vm.spec.name, type: how });
  }
}

function infoOf({ spec, state }: MemoryVm): VmInfo {
  return { name: spec.name, state, tags: { ...spec.tags } };
}
