import { setTimeout } from 'node:timers/promises';
import { seededRandom } from '@bringup/core/testing';
import type {
  ExecResult,
  GivenConnectors,
  Hypervisor,
  HypervisorConnector,
  ShellConnector,
  ShellSession,
} from '@bringup/core';

/** From a command to its answer, as in a lab's network. */
const latencyMs = 5;
const unsupported = (): never => {
  throw new TypeError('simulated machines are only looked at');
};

interface Machine {
  ticks: number;
  busy: number;
  load: number;
  freeKb: number;
  bytes: number;
}

/** Machines without number that answer the looks at them. One in ten is busy: its load jumps about. */
export function simulatedMachines(): { readonly connectors: GivenConnectors; readonly looks: number } {
  const random = seededRandom(1);
  let looks = 0;
  const shell: ShellConnector = {
    name: 'simulated',
    connect: async () => {
      const isBusy = random.next() < 0.1;
      const machine: Machine = { ticks: 1000, busy: 100, load: 0.1, freeKb: 200_000_000, bytes: 0 };
      return session(async (script) => {
        if (script.includes('dumpmachine')) return 'gcc\t/usr/bin/gcc\t12.2.0\tx86_64-linux-gnu\n';
        if (!script.includes('/proc/stat')) return facts;
        looks += 1;
        live(machine, isBusy ? random.next() : 0.08 + 0.02 * random.next());
        return vitals(machine);
      });
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
  return {
    connectors: { shell, hypervisor },
    get looks() {
      return looks;
    },
  };
}

function session(answer: (script: string) => Promise<string>): ShellSession {
  const closed = Promise.withResolvers<undefined>();
  return {
    closed: closed.promise,
    async exec([, , script = '']): Promise<ExecResult> {
      await setTimeout(latencyMs);
      return { exitCode: 0, signal: null, stdout: Buffer.from(await answer(script)), stderr: Buffer.alloc(0) };
    },
    spawn: unsupported,
    upload: unsupported,
    download: unsupported,
    forward: unsupported,
    [Symbol.asyncDispose]: async () => closed.resolve(undefined),
  };
}

function live(machine: Machine, load: number): void {
  machine.ticks += 2400;
  machine.busy += Math.round(2400 * load);
  machine.load = load;
  machine.freeKb -= load > 0.5 ? 1000 : 0;
  machine.bytes += 5000;
}

const facts = 'workspace /work\nmachine x86_64\ncpus 8\nmemory_kb 16000000\nfree_kb 200000000\n';

function vitals({ ticks, busy, load, freeKb, bytes }: Machine): string {
  const available = Math.round(16_000_000 * (1 - load / 2));
  return (
    `kernel 6.1.0\ncpu ${busy} ${ticks}\nmemory_kb 16000000 ${available}\nstorage_kb 50000000 ${freeKb}\n` +
    `network ${bytes} ${bytes}\nmillidegrees 45000\ncompilers ${load > 0.5 ? 4 : 0}\n`
  );
}

const hypervisor: HypervisorConnector = {
  name: 'simulated',
  connect: async (): Promise<Hypervisor> => {
    const closed = Promise.withResolvers<undefined>();
    return {
      closed: closed.promise,
      capabilities: async () => ({
        version: 'simulated 1.0',
        architectures: ['x86_64'],
        kvm: true,
        nestedVirt: false,
        cpuCores: 8,
        memoryMb: 16_000,
      }),
      listVms: async () => [],
      getVm: async () => undefined,
      createVm: unsupported,
      startVm: unsupported,
      destroyVm: unsupported,
      openConsole: unsupported,
      events: unsupported,
      [Symbol.asyncDispose]: async () => closed.resolve(undefined),
    };
  },
  [Symbol.asyncDispose]: async () => undefined,
};
