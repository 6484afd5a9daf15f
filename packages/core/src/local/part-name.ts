import { readdir, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';

const namePattern = /^\.bringup-(\d+)-(\d+)-[0-9a-z]+\.part$/;

/** A name for a file that is not whole yet; it tells which process writes it. */
export async function partName(id: string): Promise<string> {
  return `.bringup-${await pidNamespace()}-${process.pid}-${id}.part`;
}

/**
 * Removes what processes that were killed left unfinished in a folder. Whether a process lives can
 * only be asked where its id means the same: in its own PID namespace. What can't be listed or
 * removed stays: it is in nobody's way.
 */
export async function removeDeadParts(folder: string): Promise<void> {
  const namespace = await pidNamespace();
  for (const name of await readdir(folder).catch(() => [])) {
    const [, writerNamespace, pid] = namePattern.exec(name) ?? [];
    if (pid === undefined || writerNamespace === '0' || writerNamespace !== namespace || lives(Number(pid))) continue;
    await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

/** Number of this process's PID namespace; `0` where there is no procfs to ask. */
async function pidNamespace(): Promise<string> {
  const link = await readlink('/proc/self/ns/pid').catch(() => '');
  return /\d+/.exec(link)?.[0] ?? '0';
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Not allowed to signal it: it is there.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
