import { spawn, type ChildProcess } from 'node:child_process';
import { open } from 'node:fs/promises';
import type { Duplex } from 'node:stream';
import { sleep } from '../async.ts';
import type { VmState } from '../contracts/hypervisor.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { readyFd } from './qemu-command.ts';
import { isQemuOf, searchQemuOf, type QemuFolder } from './qemu-folder.ts';
import { connectInFolder } from './qemu-socket.ts';
import { Qmp } from './qmp.ts';

/** Of our environment QEMU gets only these: it outlives us, and secrets must not. */
const passedOn = ['PATH', 'LD_LIBRARY_PATH', 'QEMU_MODULE_DIR', 'LANG'];

/**
 * Starts QEMU in a session of its own, and waits until the machine is complete and paused.
 * @throws `hypervisor-failed` with what QEMU said when it ended instead; the signal's reason.
 */
export async function launchQemu(
  emulator: string,
  args: readonly string[],
  folder: QemuFolder,
  signal: AbortSignal,
): Promise<void> {
  await using log = await open(folder.qemuLog, 'a', 0o600);
  signal.throwIfAborted();
  const child = spawn(emulator, args, {
    cwd: folder.path,
    // The overlay of a disk is made in TMPDIR: the workspace is where the room is.
    env: { ...pick(process.env, passedOn), TMPDIR: folder.path },
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'pipe'],
  });
  const ended = whenEnded(child, folder);
  const onAbort = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });
  // Node's stdio pipes are socket pairs, so this one speaks QMP. QEMU greets early on, but answers
  // commands only once the machine is complete.
  const channel = child.stdio[readyFd] as Duplex;
  try {
    // When QEMU ends, its last words tell more than the end of the channel.
    using _ready = await Promise.race([Qmp.open(channel, signal).catch(() => ended), ended]);
    child.removeAllListeners();
    child.unref();
  } catch (error) {
    channel.destroy();
    child.kill('SIGKILL');
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Rejects when QEMU ends, with its last words. */
function whenEnded(child: ChildProcess, folder: QemuFolder): Promise<never> {
  const ended = new Promise<never>((_, reject) => {
    const fail = async (how: string, cause?: Error): Promise<void> => {
      const said = await lastWords(folder.qemuLog).catch(() => '');
      const { name } = folder;
      reject(
        new BringupError('hypervisor-failed', `QEMU did not start the VM ${name} (${how})${said && `: ${said}`}`, {
          cause,
          details: { name, stderr: said },
        }),
      );
    };
    child.once('error', (error) => void fail(error.message, error));
    child.once('exit', (status, by) => void fail(by === null ? `exit status ${status}` : `ended by ${by}`));
  });
  ended.catch(() => {});
  return ended;
}

/** Asks QEMU itself. @throws `connection-failed`, `connection-lost`, `hypervisor-failed`. */
export async function queryState(folder: QemuFolder, clock: Clock, signal: AbortSignal): Promise<VmState> {
  const answer = await runQmp(folder, clock, signal, (qmp) => qmp.execute('query-status'));
  const { status } = answer as { readonly status: string };
  switch (status) {
    case 'running':
      return 'running';
    case 'shutdown':
      return 'stopped';
    case 'guest-panicked':
    case 'internal-error':
      return 'crashed';
    default:
      return 'paused';
  }
}

/** Runs commands in a QMP session that lasts no longer: QEMU serves one client at a time. */
export async function runQmp<T>(
  folder: QemuFolder,
  clock: Clock,
  signal: AbortSignal,
  commands: (qmp: Qmp) => Promise<T>,
): Promise<T> {
  using qmp = await Qmp.open(await connectInFolder(folder.path, 'qmp.sock', clock, signal), signal);
  const cut = (): void => qmp[Symbol.dispose]();
  signal.addEventListener('abort', cut, { once: true });
  try {
    return await commands(qmp);
  } finally {
    signal.removeEventListener('abort', cut);
  }
}

/**
 * Ends the QEMU of a VM, if any: TERM, on which QEMU exits in an orderly way, then KILL.
 * @throws `hypervisor-failed` when it survives both.
 */
export async function endQemu(folder: QemuFolder, id: string, clock: Clock): Promise<void> {
  const pid = (await folder.livePid(id)) ?? (await searchQemuOf(id));
  if (pid === undefined) return;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (await isQemuOf(pid, id)) kill(pid, signal);
    if (await endsWithin(pid, id, limits.killGraceMs, clock)) return;
  }
  throw new BringupError(
    'hypervisor-failed',
    `The QEMU of the VM ${folder.name} (pid ${pid}) does not end, not even by KILL.`,
    { details: { name: folder.name, pid } },
  );
}

/** Waits for the end of a process that is not ours to wait for. Says whether it came in time. */
export async function endsWithin(pid: number, id: string, limitMs: number, clock: Clock): Promise<boolean> {
  let pauseMs = 1;
  for (let waitedMs = 0; waitedMs <= limitMs; waitedMs += pauseMs) {
    if (!(await isQemuOf(pid, id))) return true;
    pauseMs = Math.min(pauseMs * 2, 50);
    await sleep(clock, pauseMs);
  }
  return false;
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The last of what a QEMU said, `limits.qemuErrorBytes` of it. */
export async function lastWords(path: string): Promise<string> {
  await using file = await open(path);
  const { size } = await file.stat();
  const from = Math.max(0, size - limits.qemuErrorBytes);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - from), 0, size - from, from);
  return buffer.toString('utf8', 0, bytesRead).trim();
}

function pick(env: NodeJS.ProcessEnv, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
