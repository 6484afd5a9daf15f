import type { VmInfo, VmSpec, VmState } from '../contracts/hypervisor.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { VmEventFeed } from '../local/vm-events.ts';
import { MemoryLine, type MemoryConsole } from './memory-console.ts';
import { builtInCommands } from './memory-commands.ts';
import { runMemoryGuest, type MemoryBoot } from './memory-guest.ts';
import { MemoryHost } from './memory-host.ts';

interface MemoryVm {
  readonly spec: VmSpec;
  readonly line: MemoryLine;
  readonly power: AbortController;
  state: VmState;
}

/** One host of the in-memory hypervisor: its VMs outlive every session. */
export class MemoryHypervisorHost {
  readonly hostname: string;
  readonly events: VmEventFeed = new VmEventFeed();
  readonly #clock: Clock;
  readonly #boot: MemoryBoot;
  readonly #vms = new Map<string, MemoryVm>();

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
    if (this.#vms.has(spec.name)) {
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
    const { spec, line } = vm;
    const clock = this.#clock;
    const host = new MemoryHost(name, {
      clock,
      commands: new Map(Object.entries(builtInCommands)),
      scripts: new Map(),
    });
    const stage = { spec, line, clock, host, signal: vm.power.signal };
    void runMemoryGuest(this.#boot, stage).then((how) => this.#end(vm, how));
  }

  /** Ends the VM as if its emulator had been killed. */
  crash(name: string): void {
    this.#end(this.#find(name), 'crashed');
  }

  /** What a VM has said so far; undefined when there is none of that name. */
  said(name: string): string | undefined {
    return this.#vms.get(name)?.line.said.toString();
  }

  /** Ends a VM and forgets it; harmless when there is none. */
  destroy(name: string): void {
    const vm = this.#vms.get(name);
    if (vm === undefined) return;
    this.#end(vm, 'stopped');
    this.#vms.delete(name);
    this.events.publish({ name, type: 'removed' });
  }

  /** Opens the console from a byte on, by default the first. @throws as {@link MemoryLine.open}, and `not-found`. */
  openConsole(name: string, offset: number | undefined): MemoryConsole {
    return this.#find(name).line.open(offset);
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
