import { createHash } from 'node:crypto';
import { presentScript } from '../deployments/transfer.ts';
import { architectureNames, type Architecture } from '../model/architecture.ts';
import { factsScript, toolchainsScript } from '../pool/probe.ts';
import type { MemoryCommand } from './memory-process.ts';

/** A compiler of a {@link MemoryMachine}. */
export interface MemoryToolchain {
  /** Default `gcc`. A `clang` compiles for all architectures. */
  readonly name?: 'gcc' | 'clang';
  readonly targetArchitecture: Architecture;
  /** Default 12.2.0. */
  readonly version?: string;
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
  /** Default: gcc for x86_64 and arm64. */
  readonly toolchains?: readonly MemoryToolchain[];
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
        const { architecture = 'x86_64', cpuCores = 8, memoryMb = 16_384, storageGb = 200 } = machineOf(hostname);
        const workspace = argv[1] === undefined || argv[1] === '' ? `${env['HOME']}/.bringup` : argv[1];
        fs.makeFolder(workspace, { recursive: true });
        const facts = [
          ['workspace', workspace],
          ['machine', architectureNames[architecture].uname],
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
        for (const { name = 'gcc', targetArchitecture, version = '12.2.0' } of toolchains) {
          const { gnuTriplet } = architectureNames[targetArchitecture];
          const isNative = name === 'clang' || targetArchitecture === architecture;
          await stdout.write(
            `${name}\t/usr/bin/${isNative ? name : `${gnuTriplet}-${name}`}\t${version}\t${gnuTriplet}\n`,
          );
        }
      },
    ],
    [
      presentScript,
      async ({ argv: [, folder = '', ...hashes], fs, stdout }) => {
        fs.makeFolder(folder, { recursive: true });
        for (const hash of hashes) {
          const path = `${folder}/${hash}`;
          if (fs.stat(path)?.kind !== 'file') continue;
          if (createHash('sha256').update(fs.readFile(path)).digest('hex') === hash) await stdout.write(`${hash}\n`);
          else fs.remove(path);
        }
      },
    ],
  ]);
}
