import { createHash } from 'node:crypto';
import { tidyFilesScript } from '../deployments/host-files.ts';
import { presentScript } from '../deployments/transfer.ts';
import { architectureNames, type Architecture } from '../model/architecture.ts';
import { factsScript, networkScript, peripheralsScript, toolchainsScript } from '../pool/probe-scripts.ts';
import type { MemoryFileSystem } from './memory-file-system.ts';
import type { MemoryCommand } from './memory-process.ts';

/** A compiler of a {@link MemoryMachine}. */
export interface MemoryToolchain {
  /** Default `gcc`. A `clang` compiles for all architectures. */
  readonly name?: 'gcc' | 'clang';
  readonly targetArchitecture: Architecture;
  /** Default 12.2.0. */
  readonly version?: string;
  /** Default: the usual one of the architecture. */
  readonly triplet?: string;
}

/** What a memory host is made of. */
export interface MemoryMachine {
  /** Default `x86_64`. */
  readonly architecture?: Architecture;
  /** Default 8. */
  readonly cpuCores?: number;
  /** Default 16384. */
  readonly memoryMb?: number;
  /** Free space. Default 200. */
  readonly storageGb?: number;
  /** Used space. Default 50. */
  readonly storageUsedGb?: number;
  /** How busy its CPUs are, 0…100. Default 5. */
  readonly cpuPercent?: number;
  /** How much of its memory is used, 0…100. Default 20. */
  readonly memoryPercent?: number;
  /** Of its only thermal zone. Default: it has none. */
  readonly temperatureCelsius?: number;
  /** Compilers that are at work. Default 0. */
  readonly compilers?: number;
  /** Since its boot, in both directions each. Default 0. */
  readonly networkBytes?: number;
  /** Default: gcc for x86_64 and arm64. */
  readonly toolchains?: readonly MemoryToolchain[];
  /** What `uname -r` says. Default 6.1.0. */
  readonly kernelVersion?: string;
  /** Network interfaces, up, with their addresses. Default: `eth0` with 192.0.2.10/24. */
  readonly network?: Readonly<Record<string, readonly string[]>>;
  /** Peripherals by what they are called here, such as `i2c`, `can` or `usb:0403:6001`. Default: none. */
  readonly peripherals?: readonly string[];
  /** In the device tree. Default: none. */
  readonly serialNumber?: string;
}

const defaultToolchains: readonly MemoryToolchain[] = [
  { targetArchitecture: 'x86_64' },
  { targetArchitecture: 'arm64' },
];

/** What the SDK's scripts that look at a machine and its files do, by their text. */
export function memoryMachineScripts(
  machineOf: (hostname: string) => MemoryMachine,
): ReadonlyMap<string, MemoryCommand> {
  return new Map<string, MemoryCommand>([
    [
      factsScript,
      async ({ argv, env, fs, hostname, stdout }) => {
        const { architecture = 'x86_64', kernelVersion = '6.1.0' } = machineOf(hostname);
        const { cpuCores = 8, memoryMb = 16_384, storageGb = 200 } = machineOf(hostname);
        const workspace = argv[1] === undefined || argv[1] === '' ? `${env['HOME']}/.bringup` : argv[1];
        fs.makeFolder(workspace, { recursive: true });
        const facts = [
          ['workspace', workspace],
          ['machine', architectureNames[architecture].uname],
          ['kernel', kernelVersion],
          ['cpus', cpuCores],
          ['memory_kb', memoryMb * 1024],
          ['free_kb', Math.floor(storageGb * 1024 * 1024)],
        ];
        await stdout.write(facts.map(([key, value]) => `${key} ${value}\n`).join(''));
      },
    ],
    [
      toolchainsScript,
      async ({ hostname, stdout }) => {
        const { architecture = 'x86_64', toolchains = defaultToolchains } = machineOf(hostname);
        for (const { name = 'gcc', targetArchitecture, version = '12.2.0', triplet } of toolchains) {
          const machine = triplet ?? architectureNames[targetArchitecture].gnuTriplet;
          const isNative = name === 'clang' || targetArchitecture === architecture;
          const path = `/usr/bin/${isNative ? name : `${machine}-${name}`}`;
          const targets = name === 'clang' ? 'aarch64 arm riscv64 x86-64 ' : '';
          await stdout.write(`${name}\t${path}\t${version}\t${machine}\t${targets}\n`);
        }
      },
    ],
    [
      networkScript,
      async ({ hostname, stdout }) => {
        const { network = { eth0: ['192.0.2.10/24'] } } = machineOf(hostname);
        for (const [index, name] of Object.keys(network).entries()) {
          await stdout.write(`link\t${name}\tup\t02:00:00:00:00:0${index}\t1000\n`);
        }
        await stdout.write('address\tlo\t127.0.0.1/8\n');
        for (const [name, addresses] of Object.entries(network)) {
          for (const address of addresses) await stdout.write(`address\t${name}\t${address}\n`);
        }
      },
    ],
    [
      peripheralsScript,
      async ({ hostname, stdout }) => {
        const { peripherals = [], serialNumber } = machineOf(hostname);
        if (serialNumber !== undefined) await stdout.write(`serial ${serialNumber}\n`);
        for (const name of peripherals) {
          const [, bus, id] = /^(usb|pci):(.*)$/.exec(name) ?? [];
          await stdout.write(bus === undefined ? `${kindOfPeripheral(name)} ${name}\n` : `${bus} ${id}\n`);
        }
      },
    ],
    [
      presentScript,
      async ({ argv: [, folder = '', ...hashes], fs, stdout, clock }) => {
        fs.makeFolder(folder, { recursive: true });
        for (const hash of hashes) {
          const path = `${folder}/${hash}`;
          if (fs.stat(path)?.kind !== 'file') continue;
          if (createHash('sha256').update(fs.readFile(path)).digest('hex') === hash) {
            usesOf(fs).set(path, clock.now());
            await stdout.write(`${hash}\n`);
          } else fs.remove(path);
        }
      },
    ],
    [
      tidyFilesScript,
      ({ argv: [, folder = '', minutes, ...used], fs, clock }) => {
        if (fs.stat(folder)?.kind !== 'folder') return;
        const uses = usesOf(fs);
        const now = clock.now();
        for (const name of used) uses.set(`${folder}/${name}`, now);
        for (const path of fs.list(folder).map((name) => `${folder}/${name}`)) {
          if (fs.stat(path)?.kind !== 'file') continue;
          const usedAt = uses.get(path) ?? now;
          uses.set(path, usedAt);
          if (now - usedAt > Number(minutes) * 60_000) fs.remove(path);
        }
      },
    ],
  ]);
}

/** When files were last used, for files in memory have no times; one that is met for the first time was so just then. */
const uses = new WeakMap<MemoryFileSystem, Map<string, number>>();

function usesOf(fs: MemoryFileSystem): Map<string, number> {
  const known = uses.get(fs) ?? new Map<string, number>();
  uses.set(fs, known);
  return known;
}

/** Where a board shows a peripheral: among its network interfaces, or in its device tree. */
function kindOfPeripheral(name: string): 'net' | 'node' {
  return ['ethernet', 'wifi', 'can'].includes(name) ? 'net' : 'node';
}
