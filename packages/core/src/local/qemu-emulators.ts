import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { BringupError } from '../errors.ts';
import { architectureNames, architectures, type Architecture } from '../model/architecture.ts';

/** Debian's package of each emulator, for the message that asks for it. */
export const emulatorPackages: Readonly<Record<Architecture, string>> = {
  x86_64: 'qemu-system-x86',
  arm64: 'qemu-system-arm',
  armv7: 'qemu-system-arm',
  riscv64: 'qemu-system-misc',
};

/** Absolute paths of the emulators found in a PATH. */
export type Emulators = ReadonlyMap<Architecture, string>;

/** Looks for `qemu-system-…` in the folders of `path`, as a shell does. */
export async function findEmulators(path: string): Promise<Emulators> {
  const found = await Promise.all(
    architectures.map(async (architecture) => {
      const file = await findExecutable(`qemu-system-${architectureNames[architecture].qemu}`, path);
      return [architecture, file] as const;
    }),
  );
  return new Map(found.filter((entry): entry is [Architecture, string] => entry[1] !== undefined));
}

/** The emulator of an architecture. @throws `dependency-missing` naming the package that has it. */
export function emulatorOf(emulators: Emulators, architecture: Architecture): string {
  const emulator = emulators.get(architecture);
  if (emulator !== undefined) return emulator;
  throw missingEmulator(`qemu-system-${architectureNames[architecture].qemu}`, emulatorPackages[architecture]);
}

/** The error for an emulator that is not installed. */
export function missingEmulator(program: string, debianPackage: string): BringupError {
  return new BringupError(
    'dependency-missing',
    `${program} was not found on PATH. On Debian and Ubuntu: apt-get install ${debianPackage}`,
    { details: { program, debianPackage } },
  );
}

/** What an emulator says of itself, such as `QEMU 7.2.22`. */
export async function emulatorVersion(emulator: string, signal: AbortSignal): Promise<string> {
  const { stdout } = await promisify(execFile)(emulator, ['--version'], { signal });
  return `QEMU ${/version (\S+)/.exec(stdout)?.[1] ?? 'unknown'}`;
}

async function findExecutable(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter)) {
    if (folder === '') continue;
    const file = join(folder, name);
    const executable = await access(file, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (executable) return file;
  }
  return undefined;
}
