import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { VmSpec } from '../contracts/hypervisor.ts';
import { BringupError } from '../errors.ts';
import { consolePipe } from './qemu-command.ts';
import { isVmName } from './vm-spec.ts';

/** `spec.json` of a VM: what it was asked to be and how its process is recognised. */
export interface QemuRecord {
  /** UUID on QEMU's own command line: together with the pid it identifies the process. */
  readonly id: string;
  readonly spec: VmSpec;
}

/** What the files of a VM say of its life. */
export interface QemuLife {
  /** `half-created`: its creation goes on, or died. `alive`: its QEMU runs, the guest maybe. */
  readonly phase: 'half-created' | 'alive' | 'stopped' | 'crashed';
  /** Whether it was ever told to run. */
  readonly started: boolean;
  /** How often it was reset from outside. */
  readonly resets: number;
}

const abandonedMs = 60 * 60 * 1000;

/**
 * The folder of one VM, all that is known of it: any process finds the VM again from here. Life is
 * in `state/`, apart from the console's log, so that watching it is cheap: `qemu.pid` is written by
 * QEMU and removed by it when it exits in an orderly way, `created`, `started` and one `reset.…` for
 * each reset are ours.
 */
export class QemuFolder {
  readonly path: string;
  readonly name: string;

  constructor(workspace: string, name: string) {
    this.path = join(workspace, name);
    this.name = name;
  }

  /** All that the guest ever said, written by QEMU. */
  get consoleLog(): string {
    return join(this.path, `${consolePipe}.out`);
  }

  /** The FIFO from which QEMU takes input for the guest. */
  get consoleInput(): string {
    return join(this.path, `${consolePipe}.in`);
  }

  get qemuLog(): string {
    return join(this.path, 'qemu.log');
  }

  get stateFolder(): string {
    return join(this.path, 'state');
  }

  /** The record, or undefined when there is no such VM. */
  async record(): Promise<QemuRecord | undefined> {
    const text = await readIfThere(join(this.path, 'spec.json'));
    return text === undefined ? undefined : (JSON.parse(text) as QemuRecord);
  }

  /** The pid that QEMU wrote; verified by nobody. */
  async pid(): Promise<number | undefined> {
    const pid = Number.parseInt((await readIfThere(join(this.stateFolder, 'qemu.pid'))) ?? '', 10);
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  }

  /** The pid of the running QEMU, proven to be this VM's by its command line. */
  async livePid(id: string): Promise<number | undefined> {
    const pid = await this.pid();
    return pid !== undefined && (await isQemuOf(pid, id)) ? pid : undefined;
  }

  async life(id: string): Promise<QemuLife> {
    // In this order: a VM that ends meanwhile is seen as ended, never as crashed.
    const alive = (await this.livePid(id)) !== undefined;
    const marks = await readdir(this.stateFolder).catch((): string[] => []);
    const told = {
      started: marks.includes('started'),
      resets: marks.filter((mark) => mark.startsWith('reset.')).length,
    };
    if (!marks.includes('created')) return { phase: 'half-created', ...told };
    if (!marks.includes('qemu.pid')) return { phase: 'stopped', ...told };
    return { phase: alive ? 'alive' : 'crashed', ...told };
  }

  async mark(mark: 'created' | 'started' | `reset.${string}`): Promise<void> {
    await writeFile(join(this.stateFolder, mark), '');
  }

  /** Removes the folder; its name is free at once, whatever is left to delete. */
  async remove(): Promise<void> {
    const gone = join(this.path, '..', `.gone-${randomUUID()}`);
    try {
      await rename(this.path, gone);
    } catch (error) {
      if (isMissing(error)) return;
      throw error;
    }
    await rm(gone, { recursive: true, force: true });
  }
}

/**
 * Claims a name: the folder appears with its record in one step.
 * @throws `conflict` when the name is taken.
 */
export async function claimQemuFolder(workspace: string, record: QemuRecord): Promise<QemuFolder> {
  const folder = new QemuFolder(workspace, record.spec.name);
  const fresh = join(workspace, `.new-${record.id}`);
  await mkdir(join(fresh, 'state'), { recursive: true, mode: 0o700 });
  try {
    await writeFile(join(fresh, 'spec.json'), JSON.stringify(record, null, 2), { mode: 0o600 });
    await writeFile(join(fresh, `${consolePipe}.out`), '', { mode: 0o600 });
    // Node can't make one itself.
    await promisify(execFile)('mkfifo', ['-m', '600', join(fresh, `${consolePipe}.in`)]);
    await rename(fresh, folder.path);
    return folder;
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && code !== 'ENOTDIR') throw error;
    throw new BringupError(
      'conflict',
      `A VM named ${folder.name} exists in ${workspace} already; destroy it or take another name.`,
      { cause: error, details: { name: folder.name } },
    );
  }
}

/** The folders of all VMs of a workspace. */
export async function listQemuFolders(workspace: string): Promise<readonly QemuFolder[]> {
  const entries = await readdir(workspace, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && isVmName(entry.name))
    .map((entry) => new QemuFolder(workspace, entry.name));
}

/** Deletes what processes that died while creating or removing a VM left in a workspace. */
export async function sweepWorkspace(workspace: string, nowMs: number): Promise<void> {
  for (const entry of await readdir(workspace).catch(() => [])) {
    if (!entry.startsWith('.new-') && !entry.startsWith('.gone-')) continue;
    const path = join(workspace, entry);
    const changedMs = await stat(path).then(
      ({ mtimeMs }) => mtimeMs,
      () => nowMs,
    );
    if (nowMs - changedMs > abandonedMs) await rm(path, { recursive: true, force: true });
  }
}

/** Whether `pid` is the QEMU of the VM with this id. A zombie has no command line and is not. */
export async function isQemuOf(pid: number, id: string): Promise<boolean> {
  const commandLine = await readIfThere(`/proc/${pid}/cmdline`);
  return commandLine?.includes(`\0-uuid\0${id}\0`) === true;
}

/** Looks through all processes for the QEMU of a VM whose creator died before the pid was known. */
export async function searchQemuOf(id: string): Promise<number | undefined> {
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (Number.isSafeInteger(pid) && (await isQemuOf(pid, id))) return pid;
  }
  return undefined;
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    // ESRCH: a process that ends while its file in /proc is read.
    if (isMissing(error) || (error as NodeJS.ErrnoException).code === 'ESRCH') return undefined;
    throw error;
  }
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ENOTDIR';
}
