import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, findCommand, runCommand } from './commands.ts';
import { type CpioEntry, writeCpio } from './cpio.ts';

const linuxFolder = fileURLToPath(new URL('../linux', import.meta.url));

/** The kernel configuration: what `tinyconfig` lacks to boot on a serial console and run the suite. */
export function linuxConfigFragment(): Promise<string> {
  return readFile(join(linuxFolder, 'kernel.config'), 'utf8');
}

/**
 * What a small x86 kernel is not built from: other architectures, drivers of devices that QEMU's
 * machine lacks, file systems of disks. Their Kconfig and Makefiles stay, the kernel's own reads them.
 * It is four fifths of 80,000 files, and each build copies them.
 */
const notBuiltFrom = [
  'Documentation/*/*.*',
  'arch/[!x]*/*.[chS]',
  'arch/*.dts',
  'arch/*.dtsi',
  'drivers/[!bcrt]*/*.c',
  ...['bluetooth', 'bus', 'clk', 'comedi', 'cpufreq', 'crypto', 'regulator', 'remoteproc', 'target', 'thermal'].map(
    (drivers) => `drivers/${drivers}/*.[ch]`,
  ),
  ...['gpu', 'hid', 'media', 'misc', 'net', 'scsi', 'staging', 'usb', 'video'].map(
    (drivers) => `drivers/${drivers}/*.h`,
  ),
  'fs/[a-ceg-jl-oqt-z]*/*.c',
  'net/*/*.c',
  ...['sound', 'samples'].map((folder) => `${folder}/*.[ch]`),
  ...['tools/perf', 'tools/testing'].map((folder) => `${folder}/*/*`),
];

/** Options of {@link prepareLinuxSource}. */
export interface PrepareOptions {
  /** Tells the user something. */
  readonly say: (text: string) => void;
  readonly signal?: AbortSignal;
}

/**
 * Unpacks what an x86 kernel needs of the distribution's Linux source into a cache folder, once.
 * @returns the source tree.
 * @throws Error when /usr/src has no source archive, or unpacking fails.
 */
export async function prepareLinuxSource(cache: string, options: PrepareOptions): Promise<string> {
  const archive = await newestArchive('/usr/src');
  const tree = join(cache, archive.replace(/\.tar\..*$/, '-x86'));
  if (await exists(tree)) return tree;
  options.say(`Unpacking /usr/src/${archive}, once.`);
  const scratch = `${tree}.unpacking`;
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  await runCommand(
    [
      'tar',
      ...['-xf', join('/usr/src', archive), '-C', scratch, '--strip-components=1'],
      ...['--anchored', '--wildcards', '--wildcards-match-slash', ...notBuiltFrom.map((path) => `--exclude=*/${path}`)],
    ],
    { ...(options.signal !== undefined && { signal: options.signal }) },
  );
  // The name appears only when the tree behind it is whole.
  await rename(scratch, tree);
  return tree;
}

async function newestArchive(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => /^linux-source-[\d.]+\.tar\.\w+$/.test(name));
  const newest = names.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (newest === undefined) throw new Error(`${folder} has no linux-source-*.tar.*; install the package linux-source`);
  return newest;
}

/**
 * Makes an initrd of a static busybox and what a folder adds to it. The same inputs give the same
 * bytes.
 *
 * @param file - where it is written.
 * @param rootfs - folder with `init` and all it needs. Default: the example's init and test suite.
 * @throws Error when busybox is missing or not static.
 */
export async function buildInitrd(file: string, rootfs = join(linuxFolder, 'rootfs')): Promise<void> {
  const busybox = await staticBusybox();
  const entries: CpioEntry[] = [
    { path: 'bin', type: 'folder' },
    { path: 'bin/busybox', type: 'file', content: await readFile(busybox), executable: true },
    { path: 'bin/sh', type: 'link', target: 'busybox' },
    { path: 'dev', type: 'folder' },
    // The kernel opens it for init before anything is mounted.
    { path: 'dev/console', type: 'device', major: 5, minor: 1 },
    ...['proc', 'sys', 'tmp'].map((path) => ({ path, type: 'folder' as const })),
  ];
  for (const found of await readdir(rootfs, { withFileTypes: true, recursive: true })) {
    const path = join(found.parentPath, found.name);
    const name = relative(rootfs, path);
    if (found.isDirectory()) entries.push({ path: name, type: 'folder' });
    else entries.push({ path: name, type: 'file', content: await readFile(path), executable: true });
  }
  await writeFile(`${file}.new`, writeCpio(entries));
  await rename(`${file}.new`, file);
}

async function staticBusybox(): Promise<string> {
  const path = await findCommand('busybox');
  if (path === undefined) throw new Error('busybox is not installed; install the package busybox-static');
  if (await needsInterpreter(path))
    throw new Error(`${path} is linked dynamically and can't run in an initrd; install the package busybox-static`);
  return path;
}

/** Whether a 64-bit ELF program asks for a dynamic loader (a program header of type PT_INTERP). */
async function needsInterpreter(path: string): Promise<boolean> {
  await using file = await open(path);
  const start = Buffer.alloc(4096);
  await file.read(start, 0, start.length, 0);
  const [table, size, count] = [Number(start.readBigUInt64LE(32)), start.readUInt16LE(54), start.readUInt16LE(56)];
  const interpreter = 3;
  return Array.from({ length: count }, (_, at) => start.readUInt32LE(table + at * size)).includes(interpreter);
}
