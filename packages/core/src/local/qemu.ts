import { mkdir } from 'node:fs/promises';
import { withDeadline } from '../async.ts';
import type { Hypervisor, HypervisorConnector, HypervisorTarget } from '../contracts/hypervisor.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import { emulatorPackages, findEmulators, missingEmulator } from './qemu-emulators.ts';
import { sweepWorkspace } from './qemu-folder.ts';
import { QemuHypervisor } from './qemu-hypervisor.ts';

/** Options of {@link localQemu}. */
export interface LocalQemuOptions {
  /** Folders in which `qemu-system-…` is looked for, separated by colons. Default: this process's PATH. */
  readonly path?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/**
 * This machine as a QEMU host: QEMU itself with QMP, neither libvirt nor SSH. VMs run in sessions of
 * their own, survive this process, and are found again in the target's workspace by any process.
 * Only the target's workspace is used; its host and the shell are not. Linux only.
 *
 * @example
 * ```ts
 * await using hypervisor = await localQemu().connect(target, shell);
 * await hypervisor.createVm({ name: 'vm-1', architecture: 'x86_64', cpus: 1, memoryMb: 256, kernel, commandLine: 'console=ttyS0', tags: {} });
 * ```
 */
export function localQemu(options: LocalQemuOptions = {}): HypervisorConnector {
  return new LocalQemuConnector(options);
}

class LocalQemuConnector implements HypervisorConnector {
  readonly name = 'local';
  readonly #path: string;
  readonly #clock: Clock;
  readonly #sessions = new Set<QemuHypervisor>();

  constructor({ path = process.env['PATH'] ?? '', clock = systemClock }: LocalQemuOptions) {
    this.#path = path;
    this.#clock = clock;
  }

  connect(target: HypervisorTarget, _shell: ShellSession, options: CallOptions = {}): Promise<Hypervisor> {
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
    return withDeadline(this.#clock, 'looking for QEMU on this machine', bounded, async (signal) => {
      if (process.platform !== 'linux') {
        throw new BringupError('unsupported', `Local QEMU hosts run Linux; this machine runs ${process.platform}.`);
      }
      const emulators = await findEmulators(this.#path);
      if (emulators.size === 0) throw missingEmulator('No qemu-system-… emulator', emulatorPackages.x86_64);
      await prepareWorkspace(target.workspace, this.#clock);
      signal.throwIfAborted();
      const session = new QemuHypervisor(target.workspace, emulators, this.#clock);
      this.#sessions.add(session);
      void session.closed.then(() => this.#sessions.delete(session));
      return session;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#sessions].map((session) => session[Symbol.asyncDispose]()));
  }
}

async function prepareWorkspace(workspace: string, clock: Clock): Promise<void> {
  try {
    await mkdir(workspace, { recursive: true, mode: 0o700 });
    await sweepWorkspace(workspace, clock.now());
  } catch (cause) {
    throw new BringupError(
      'connection-failed',
      `The workspace ${workspace} can't be used: ${(cause as Error).message}`,
      { cause, details: { workspace } },
    );
  }
}
