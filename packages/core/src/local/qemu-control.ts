import { randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { untilQuiet } from '../async.ts';
import type { Screenshot } from '../contracts/hypervisor.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { QemuFolder } from './qemu-folder.ts';
import { runQmp } from './qemu-process.ts';
import type { Qmp } from './qmp.ts';

/** A running VM of this machine that is to be controlled. */
export interface ControlledVm {
  readonly folder: QemuFolder;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Resets a VM. QEMU takes any reset for the end (`-no-reboot`), so for a moment it is told not to; the
 * signal should abort only when nobody is left to tell it otherwise. @throws `unsupported` before QEMU 6.0.
 */
export async function resetQemu({ folder, clock, signal }: ControlledVm): Promise<void> {
  await runQmp(folder, clock, signal, async (qmp) => {
    await orUnsupported(qmp.execute('set-action', { reboot: 'reset' }), 'CommandNotFound', 'QEMU is older than 6.0');
    try {
      const quiet = untilQuiet(clock, limits.vmResetSettleMs);
      qmp.onEvent((event) => event === 'RESET' && quiet.disturb());
      await qmp.execute('system_reset');
      await folder.mark(`reset.${randomUUID()}`);
      await quiet.settled;
    } finally {
      await qmp.execute('set-action', { reboot: 'shutdown' });
    }
  });
}

/** Sends an NMI. @throws `unsupported` when the machine has none. */
export async function injectQemuNmi({ folder, clock, signal }: ControlledVm): Promise<void> {
  await runQmp(folder, clock, signal, (qmp) =>
    orUnsupported(qmp.execute('inject-nmi'), 'GenericError', 'its machine has no NMI'),
  );
}

/** Takes a picture of the display. @throws `unsupported` without one. */
export async function qemuScreenshot({ folder, clock, signal }: ControlledVm): Promise<Screenshot> {
  const name = `screenshot-${randomUUID()}.ppm`;
  const path = join(folder.path, name);
  // QEMU runs in the folder. Only from 7.1 on it knows other formats than PPM.
  const take = (qmp: Qmp) => qmp.execute('screendump', { filename: name });
  try {
    await runQmp(folder, clock, signal, (qmp) => orUnsupported(take(qmp), 'GenericError', 'it has no display'));
    await using file = await open(path);
    const { size } = await file.stat();
    if (size > limits.screenshotMaxBytes) {
      throw new BringupError('hypervisor-failed', `The display of the VM ${folder.name} is too large: ${size} bytes.`);
    }
    return { mimeType: 'image/x-portable-pixmap', image: await file.readFile() };
  } finally {
    await rm(path, { force: true });
  }
}

async function orUnsupported<T>(command: Promise<T>, refusal: string, why: string): Promise<T> {
  try {
    return await command;
  } catch (error) {
    if (!isBringupError(error, 'hypervisor-failed') || error.details['class'] !== refusal) throw error;
    throw new BringupError('unsupported', `The VM can't do that: ${why}.`, { cause: error, details: error.details });
  }
}
