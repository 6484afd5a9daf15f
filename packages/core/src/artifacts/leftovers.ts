import { createHash, randomUUID } from 'node:crypto';
import { readFile, readdir, readlink, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';

const namePattern = /^([0-9a-f]{16})-(\d+)-(\d+)-[0-9a-f-]{36}\.part$/;

/** This process as a writer of unfinished files, among all that may share their folder. */
interface Writer {
  /** The same for all processes that can see each other's ids: one boot of one machine, one PID namespace. */
  readonly realm: string;
  readonly pid: number;
  /** Clock ticks from boot to the process's start: tells it from a later one with the same id. */
  readonly startTicks: string;
}

let writer: Promise<Writer> | undefined;

/** A name for an unfinished file that tells who writes it. */
export async function leftoverName(): Promise<string> {
  const { realm, pid, startTicks } = await thisWriter();
  return `${realm}-${pid}-${startTicks}-${randomUUID()}.part`;
}

/**
 * Removes the unfinished files of writers that are no more. Whether a writer lives can only be
 * asked on its own machine; files of other machines, and of earlier boots, go by their age.
 */
export async function removeLeftovers(folder: string, clock: Clock): Promise<void> {
  const { realm } = await thisWriter();
  for (const name of await readdir(folder)) {
    const file = path.join(folder, name);
    const match = namePattern.exec(name);
    const dead = match?.[1] === realm ? (await startTicksOf(Number(match[2]))) !== match[3] : await isOld(file, clock);
    if (dead) await unlink(file).catch(ignoreMissing);
  }
}

async function isOld(file: string, clock: Clock): Promise<boolean> {
  try {
    return clock.now() - (await stat(file)).mtimeMs > limits.artifactLeftoverMs;
  } catch (error) {
    ignoreMissing(error);
    return false;
  }
}

function thisWriter(): Promise<Writer> {
  writer ??= describeThisProcess();
  return writer;
}

async function describeThisProcess(): Promise<Writer> {
  const startTicks = await startTicksOf(process.pid);
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    const pidNamespace = await readlink('/proc/self/ns/pid');
    const realm = createHash('sha256').update(`${boot}\n${pidNamespace}`).digest('hex').slice(0, 16);
    return { realm, pid: process.pid, startTicks: startTicks ?? '0' };
  } catch {
    // No procfs: nobody can ask for this process, so its files go by their age.
    return { realm: randomUUID().replaceAll('-', '').slice(0, 16), pid: process.pid, startTicks: '0' };
  }
}

/** Field 22 of `/proc/PID/stat`, see proc_pid_stat(5); undefined when there is no such process. */
async function startTicksOf(pid: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in field 2 may hold spaces and parentheses; the fields after it don't.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function ignoreMissing(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
}
