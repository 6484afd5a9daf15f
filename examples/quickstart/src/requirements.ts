import { readdir } from 'node:fs/promises';
import { exists, findCommand, runCommand } from './commands.ts';

/** Something this machine needs. */
export interface Requirement {
  /** As a person knows it. */
  readonly label: string;
  /** The Debian and Ubuntu package that brings it. */
  readonly aptPackage: string;
  isPresent(): Promise<boolean>;
}

/** What every run needs: a compiler for the BSP, git for its source, QEMU to boot it. */
export const bspRequirements: readonly Requirement[] = [
  command('make', 'make'),
  command('gcc', 'gcc'),
  command('ld', 'binutils'),
  command('git', 'git'),
  command('qemu-system-x86_64', 'qemu-system-x86'),
];

/** What building and booting a Linux kernel needs beyond that. */
export const kernelRequirements: readonly Requirement[] = [
  command('flex', 'flex'),
  command('bison', 'bison'),
  command('bc', 'bc'),
  command('cpio', 'cpio'),
  command('busybox', 'busybox-static'),
  header('/usr/include/libelf.h', 'libelf-dev'),
  header('/usr/include/openssl/ssl.h', 'libssl-dev'),
];

/** The kernel source itself, unless another source tree is given. */
export const kernelSourceRequirements: readonly Requirement[] = [
  command('xz', 'xz-utils'),
  {
    label: 'the Linux source',
    aptPackage: 'linux-source',
    isPresent: async () =>
      (await readdir('/usr/src').catch(() => [])).some((name) => /^linux-source-.*\.tar\./.test(name)),
  },
];

/** Options of {@link ensureRequirements}. */
export interface EnsureOptions {
  /** Tells the user something. */
  readonly say: (text: string) => void;
  /** Gets the lines of the package manager. */
  readonly onLine: (line: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Makes sure that everything is there. As root on Debian and Ubuntu it installs what is missing;
 * elsewhere it says with which command that is done.
 *
 * @returns whether the machine has everything now; if not, the user has been told what to do.
 */
export async function ensureRequirements(
  requirements: readonly Requirement[],
  options: EnsureOptions,
): Promise<boolean> {
  const missing = await findMissing(requirements);
  if (missing.length === 0) return true;
  const packages = [...new Set(missing.map((requirement) => requirement.aptPackage))];
  options.say(`Missing on this machine: ${missing.map((requirement) => requirement.label).join(', ')}.`);
  const hasApt = (await findCommand('apt-get')) !== undefined;
  if (!hasApt) {
    options.say(`Install what Debian calls ${packages.join(', ')} with your package manager, then run the same again.`);
    return false;
  }
  const byHand = `apt-get update && apt-get install --no-install-recommends ${packages.join(' ')}`;
  if (process.getuid?.() !== 0) {
    options.say(`Install it with\n\n  sudo sh -c '${byHand}'\n\nthen run the same again.`);
    return false;
  }
  options.say(`Installing ${packages.join(', ')} with apt-get.`);
  try {
    await aptInstall(packages, options);
  } catch (error) {
    options.say(
      `${error instanceof Error ? error.message : String(error)}\n\nInstall it by hand with\n\n  ${byHand}\n\nthen run the same again.`,
    );
    return false;
  }
  const still = await findMissing(requirements);
  if (still.length > 0)
    options.say(`Still missing after the installation: ${still.map((requirement) => requirement.label).join(', ')}.`);
  return still.length === 0;
}

async function findMissing(requirements: readonly Requirement[]): Promise<Requirement[]> {
  const present = await Promise.all(requirements.map((requirement) => requirement.isPresent()));
  return requirements.filter((_, index) => present[index] !== true);
}

async function aptInstall(packages: readonly string[], options: EnsureOptions): Promise<void> {
  const run = (args: readonly string[]): Promise<string> =>
    runCommand(['apt-get', '-q', '-o', 'DPkg::Lock::Timeout=600', ...args], {
      env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
      onLine: options.onLine,
      ...(options.signal !== undefined && { signal: options.signal }),
    });
  await run(['update']);
  await run(['install', '-y', '--no-install-recommends', ...packages]);
}

function command(name: string, aptPackage: string): Requirement {
  return { label: name, aptPackage, isPresent: async () => (await findCommand(name)) !== undefined };
}

function header(path: string, aptPackage: string): Requirement {
  return { label: aptPackage, aptPackage, isPresent: () => exists(path) };
}
