import { raiseAlert, resolveAlert } from '../alerts/raise.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError, isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { isVmStuck } from '../local/vm-spec.ts';
import type { StoreTransaction } from '../store/store.ts';
import type { ProvisionedPlace } from './target.ts';

/** A VM that could not be taken back. */
export interface LeftBehind {
  readonly deploymentId: string;
  readonly vm: string;
  readonly hostId: string;
  /** What happened and what to do. */
  readonly message: string;
}

/** Tells a person of a VM that the lab could not take back; it goes on trying. */
export async function raiseLeftBehind(
  tx: StoreTransaction,
  { deploymentId, vm, hostId, message }: LeftBehind,
  services: { readonly clock: Clock; readonly random: Random },
): Promise<void> {
  const trouble = { type: 'left-behind', severity: 'warning', subject: deploymentId } as const;
  await raiseAlert(tx, { ...trouble, message, details: { vm, hostId } }, services);
}

/** What a deployment had left behind was taken back. */
export async function resolveLeftBehind(tx: StoreTransaction, deploymentId: string, now: number): Promise<void> {
  await resolveAlert(tx, { type: 'left-behind', subject: deploymentId }, 'the VM was found and removed', now);
}

/** The error of a VM that could not be taken back. */
export function vmLeftBehind({ deploymentId, targetId, vm = '' }: ProvisionedPlace, cause: unknown): BringupError {
  return new BringupError('hypervisor-failed', why(vm, targetId, cause), {
    cause,
    details: { vm, hostId: targetId, deploymentId },
  });
}

function why(vm: string, hostId: string, cause: unknown): string {
  if (isVmStuck(cause)) return cause.message;
  if (isBringupError(cause, 'not-found'))
    return `host ${hostId} of the VM ${vm} is not in the pool any more; remove the VM by hand`;
  return `the VM ${vm} could not be removed from host ${hostId} in ${limits.releaseAttempts} tries; remove it by hand`;
}
