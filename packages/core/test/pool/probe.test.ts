import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { localShell, type Toolchain } from '@bringup/core';
import { probeToolchains, type CommandRunner } from '../../src/pool/probe.ts';

/** Compilers by their names: what they say to -dumpfullversion (empty: they don't know it), -dumpversion, -dumpmachine, -print-targets. */
type Compilers = Readonly<Record<string, readonly [full: string, version: string, machine: string, targets?: string]>>;

/** What is found where these compilers, and no others, are on the PATH. */
async function found(compilers: Compilers): Promise<Toolchain[]> {
  const folder = await mkdtemp(join(tmpdir(), 'bringup-compilers-'));
  await using connector = localShell();
  try {
    for (const [name, [full, version, machine, targets = '']] of Object.entries(compilers)) {
      const file = join(folder, name);
      const answer = (text: string): string => (text === '' ? 'exit 1' : `printf '%s\\n' '${text}'`);
      await writeFile(
        file,
        `#!/bin/sh\ncase $1 in -dumpfullversion) ${answer(full)};; -dumpversion) ${answer(version)};; ` +
          `-dumpmachine) ${answer(machine)};; -print-targets) ${answer(targets)};; *) exit 1;; esac\n`,
      );
      await chmod(file, 0o755);
    }
    const session = await connector.connect({ hostname: 'localhost', username: 'me' });
    const runner: CommandRunner = {
      exec: ([program = '', ...args], options) =>
        session.exec([`/bin/${program}`, ...args], { ...options, env: { PATH: folder } }),
    };
    const toolchains = await probeToolchains(runner);
    return toolchains.map((toolchain) => ({ ...toolchain, path: toolchain.path.replace(`${folder}/`, '') }));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const brief = (toolchains: readonly Toolchain[]): string[] =>
  toolchains.map((t) => `${t.path}: ${t.name} ${t.version} for ${t.targetArchitecture} (${t.triplet})`);

describe('looking for toolchains', () => {
  it('R1.3: finds gcc, cross compilers of all flavours, and those that go by their version alone', async () => {
    const toolchains = await found({
      gcc: ['12.2.0', '12', 'x86_64-linux-gnu'],
      'x86_64-linux-gnu-gcc': ['12.2.0', '12', 'x86_64-linux-gnu'],
      'aarch64-linux-gnu-gcc-12': ['12.2.0', '12', 'aarch64-linux-gnu'],
      'aarch64-linux-gnu-gcc-ar-12': ['', '', ''],
      'gcc-13': ['13.1.0', '13', 'x86_64-linux-gnu'],
      'arm-linux-gnueabi-gcc': ['11.3.0', '11', 'arm-linux-gnueabi'],
      'arm-linux-gnueabihf-gcc': ['11.3.0', '11', 'arm-linux-gnueabihf'],
      'riscv64-linux-gnu-gcc': ['', '9.4', 'riscv64-linux-gnu'],
      'aarch64-poky-linux-gcc': ['10.2.0', '10', 'aarch64-poky-linux'],
      'c99-gcc': ['12.2.0', '12', 'x86_64-linux-gnu'],
    });
    expect(brief(toolchains)).toEqual([
      'gcc: gcc 12.2.0 for x86_64 (x86_64-linux-gnu)',
      'aarch64-poky-linux-gcc: gcc 10.2.0 for arm64 (aarch64-poky-linux)',
      'arm-linux-gnueabi-gcc: gcc 11.3.0 for armv7 (arm-linux-gnueabi)',
      'arm-linux-gnueabihf-gcc: gcc 11.3.0 for armv7 (arm-linux-gnueabihf)',
      'riscv64-linux-gnu-gcc: gcc 9.4 for riscv64 (riscv64-linux-gnu)',
      'gcc-13: gcc 13.1.0 for x86_64 (x86_64-linux-gnu)',
      'aarch64-linux-gnu-gcc-12: gcc 12.2.0 for arm64 (aarch64-linux-gnu)',
    ]);
  });

  it('leaves out compilers for bare metal, for unknown machines, and broken ones', async () => {
    const toolchains = await found({
      'arm-none-eabi-gcc': ['12.2.0', '12', 'arm-none-eabi'],
      'riscv64-unknown-elf-gcc': ['12.2.0', '12', 'riscv64-unknown-elf'],
      'mips-linux-gnu-gcc': ['12.2.0', '12', 'mips-linux-gnu'],
      gcc: ['', '', ''],
    });
    expect(toolchains).toEqual([]);
  });

  it('takes clang for the targets it was built with, or all of them where it cannot tell', async () => {
    const some = await found({
      clang: [
        '',
        '15.0.6',
        'x86_64-pc-linux-gnu',
        '  Registered Targets:\n    aarch64    - AArch64\n    x86-64     - 64-bit X86',
      ],
    });
    expect(some.map((t) => t.targetArchitecture)).toEqual(['x86_64', 'arm64']);
    const all = await found({ 'clang-9': ['', '9.0.1', 'x86_64-pc-linux-gnu'] });
    expect(all.map((t) => `${t.path} ${t.targetArchitecture}`)).toEqual([
      'clang-9 x86_64',
      'clang-9 arm64',
      'clang-9 armv7',
      'clang-9 riscv64',
    ]);
  });
});
