import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, constants, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { Architecture } from '../model/architecture.ts';
import { tinyGuest, tinyGuestImage } from './tiny-guest.ts';

/** What was found out about KVM in one boot of the machine. */
interface KvmVerdict {
  readonly bootId: string;
  readonly emulator: string;
  readonly proven: boolean;
  readonly atMs: number;
}

/** The architecture of which this machine can run guests under KVM, if any is ever proven. */
export const kvmArchitecture: Architecture | undefined = arch() === 'x64' ? 'x86_64' : undefined;

/**
 * Whether guests run under KVM here: seen once per boot of the machine, then read from `workspace`.
 * A doubt is looked into again after a while, since a trial can also fail because the machine was
 * very busy.
 */
export async function kvmIsProven(emulator: string, workspace: string, clock: Clock): Promise<boolean> {
  if (!(await canOpenKvm())) return false;
  const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const file = join(workspace, '.kvm-proof.json');
  const known = await readVerdict(file);
  if (known?.bootId === bootId && known.emulator === emulator) {
    if (known.proven || clock.now() - known.atMs < limits.kvmDoubtMs) return known.proven;
  }
  const proven = await trialGuestRuns(emulator, 'kvm', clock);
  await writeVerdict(file, { bootId, emulator, proven, atMs: clock.now() });
  return proven;
}

/**
 * Boots the tiny guest, has it send a byte back and reset the machine. That takes firmware in real
 * mode, protected mode, a halted CPU that an interrupt wakes and the return from it. Less is no
 * proof: there are machines whose KVM runs a guest's first instructions and then none.
 */
export async function trialGuestRuns(emulator: string, accelerator: 'kvm' | 'tcg', clock: Clock): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'bringup-kvm-'));
  try {
    const kernel = join(folder, 'tiny-guest');
    await writeFile(kernel, tinyGuestImage());
    return await runTrial(emulator, trialArguments(kernel, accelerator), clock);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const trialWord = 'trial';

function trialArguments(kernel: string, accelerator: 'kvm' | 'tcg'): string[] {
  return [
    ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...['-machine', 'pc', '-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max', '-m', '16M'],
    ...['-kernel', kernel, '-serial', 'stdio'],
  ];
}

/** Whether the guest sent the word back and ended by itself, in time. */
function runTrial(emulator: string, args: readonly string[], clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    let said = '';
    const child = spawn(emulator, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const end = (proven: boolean): void => {
      timer[Symbol.dispose]();
      child.kill('SIGKILL');
      // A guest stuck in the kernel may take KILL late or never; nobody waits for it.
      child.unref();
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy();
      resolve(proven);
    };
    const timer = clock.timer(limits.kvmProofMs, () => end(false));
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
    // Such as "KVM internal error": the guest stands still from there on.
    child.stderr.on('data', (chunk: Buffer) => {
      if (/error|failed/i.test(chunk.toString('latin1'))) end(false);
    });
    child.stdin.on('error', () => {});
    child.stdin.write(`${trialWord}${tinyGuest.quit}`);
    child.once('error', () => end(false));
    child.once('close', (status) => end(status === 0 && said.endsWith(trialWord)));
  });
}

async function canOpenKvm(): Promise<boolean> {
  return access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

async function readVerdict(file: string): Promise<KvmVerdict | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as KvmVerdict;
  } catch {
    return undefined;
  }
}

/** A verdict that can't be kept is only found out again. */
async function writeVerdict(file: string, verdict: KvmVerdict): Promise<void> {
  const fresh = `${file}.${randomUUID()}`;
  await writeFile(fresh, JSON.stringify(verdict))
    .then(() => rename(fresh, file))
    .catch(() => rm(fresh, { force: true }));
}

/** Whether KVM guests can use KVM themselves, as the host's module says. */
export async function nestedIsOn(): Promise<boolean> {
  for (const module of ['kvm_intel', 'kvm_amd']) {
    const value = await readFile(`/sys/module/${module}/parameters/nested`, 'utf8').catch(() => '');
    if (['Y', '1'].includes(value.trim())) return true;
  }
  return false;
}
