import { isAbsolute } from 'node:path';
import type { VmSpec, VmState } from '../contracts/hypervisor.ts';
import { BringupError, invalidInput, isBringupError, type InputIssue } from '../errors.ts';
import { architectures } from '../model/architecture.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
// QEMU's own names for machines and CPU models, with their properties after commas.
const modelPattern = /^[A-Za-z0-9][A-Za-z0-9._,=+-]*$/;

// QEMU reads or writes what these name, below the VM's own folder too.
const namesFile = /,(?:dumpdtb|dtb|firmware|kernel|initrd|append|pflash\d*|memory-backend)=/i;

/** Whether a VM can have this name: `[A-Za-z0-9][A-Za-z0-9._-]*`, at most 128 characters. */
export function isVmName(name: string): boolean {
  return name.length <= 128 && namePattern.test(name);
}

/** The error of a VM that has to run for what is asked of it; undefined: it is gone. */
export function notRunning(name: string, state: VmState | undefined): BringupError {
  if (state === undefined) {
    return new BringupError('not-found', `There is no VM named ${name}.`, { details: { name } });
  }
  const hint = state === 'paused' ? 'start it first' : 'destroy and create it';
  return new BringupError('hypervisor-failed', `The VM ${name} does not run, it is ${state}: ${hint}.`, {
    details: { name, state },
  });
}

/**
 * The error of a VM that its hypervisor can't let go of before a person has done something. Other names are free as ever.
 * @param advice - what happened and what to do, in whole sentences.
 */
export function vmStuck(name: string, advice: string): BringupError {
  return new BringupError(
    'hypervisor-failed',
    `The VM ${name} can't be removed: its hypervisor does not let go of it. ${advice}`,
    { details: { name, reason: 'stuck' } },
  );
}

/** Whether an error is one of {@link vmStuck}. */
export function isVmStuck(error: unknown): error is BringupError {
  return isBringupError(error, 'hypervisor-failed') && error.details['reason'] === 'stuck';
}

/**
 * Checks what a hypervisor connector is handed before anything reaches the host: connectors share
 * it, so that every one of them refuses the same things.
 * @throws `invalid-input` with one issue per field.
 */
export function checkVmSpec(spec: VmSpec): void {
  const issues: InputIssue[] = [];
  const check = (holds: boolean, path: string, message: string): void => {
    if (!holds) issues.push({ path, message });
  };
  check(isVmName(spec.name), 'name', 'must match [A-Za-z0-9][A-Za-z0-9._-]* and have at most 128 characters');
  check(architectures.includes(spec.architecture), 'architecture', `must be one of ${architectures.join(', ')}`);
  check(isCount(spec.cpus), 'cpus', 'must be a positive whole number');
  check(isCount(spec.memoryMb), 'memoryMb', 'must be a positive whole number of MiB');
  const paths = {
    kernel: spec.kernel,
    initrd: spec.initrd,
    deviceTree: spec.deviceTree,
    'rootfs.path': spec.rootfs?.path,
  };
  for (const [path, value] of Object.entries(paths)) {
    if (value !== undefined)
      check(isPlainAbsolute(value), path, 'must be an absolute path on the host, without control characters');
  }
  if (spec.rootfs !== undefined)
    check(['raw', 'qcow2'].includes(spec.rootfs.format), 'rootfs.format', 'must be raw or qcow2');
  check(!hasControls(spec.commandLine), 'commandLine', 'must be one line without control characters');
  for (const field of ['machine', 'cpuModel'] as const) {
    const value = spec[field];
    if (value === undefined) continue;
    check(modelPattern.test(value), field, 'is not a name of QEMU');
    check(!namesFile.test(value), field, 'must not have a property that names a file');
  }
  if (issues.length > 0) throw invalidInput(`The VM ${JSON.stringify(spec.name)}`, issues);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0;
}

function isPlainAbsolute(path: string): boolean {
  return isAbsolute(path) && !hasControls(path);
}

function hasControls(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return /[\u0000-\u001f\u007f]/.test(text);
}
