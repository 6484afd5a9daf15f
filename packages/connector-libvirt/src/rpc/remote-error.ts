import { BringupError } from '@bringup/core';
import type { ErrorCode } from '@bringup/core';
import { XdrReader } from './xdr.ts';

/** Error numbers of libvirt that the connector tells apart (include/libvirt/virterror.h). */
export const virError = {
  noSupport: 3,
  operationFailed: 9,
  domainExists: 28,
  operationDenied: 29,
  systemError: 38,
  noDomain: 42,
  noStoragePool: 49,
  noStorageVol: 50,
  authFailed: 45,
  operationInvalid: 55,
  configUnsupported: 67,
  operationTimeout: 68,
  noDomainSnapshot: 72,
  authCancelled: 79,
  noDomainMetadata: 80,
  resourceBusy: 87,
  accessDenied: 88,
  storageVolExists: 90,
  authUnavailable: 94,
} as const;

/** An error as libvirt's daemon sends it. */
export interface RemoteError {
  /** virErrorNumber. */
  readonly code: number;
  /** virErrorDomain: the part of libvirt it comes from. */
  readonly domain: number;
  readonly message: string;
}

/** Reads a virNetMessageError. */
export function decodeRemoteError(payload: Uint8Array): RemoteError {
  const reader = new XdrReader(payload);
  const code = reader.i32();
  const domain = reader.i32();
  const message = reader.optional(() => reader.string()) ?? `error ${code}`;
  return { code, domain, message };
}

const codes: Readonly<Record<number, ErrorCode>> = {
  [virError.noSupport]: 'unsupported',
  [virError.configUnsupported]: 'unsupported',
  [virError.domainExists]: 'conflict',
  [virError.noDomain]: 'not-found',
  [virError.noStoragePool]: 'not-found',
  [virError.noStorageVol]: 'not-found',
  [virError.noDomainSnapshot]: 'not-found',
  [virError.storageVolExists]: 'conflict',
  [virError.operationDenied]: 'authentication-failed',
  [virError.authFailed]: 'authentication-failed',
  [virError.authCancelled]: 'authentication-failed',
  [virError.accessDenied]: 'authentication-failed',
  [virError.authUnavailable]: 'authentication-failed',
  // It waited for somebody else who is busy with the same domain.
  [virError.operationTimeout]: 'unavailable',
};

/** What opens the daemon to an account that it refuses. */
export const accessHint =
  'Add the account to the libvirt group on the host (`usermod -aG libvirt NAME`), or connect as one that may manage virtual machines.';

function hint(code: ErrorCode, message: string): string {
  if (code === 'authentication-failed') return ` ${accessHint}`;
  if (/permission denied/i.test(message)) {
    return ' QEMU runs as an account of its own (`libvirt-qemu` or `qemu`): give it read permission on the file and search permission (o+x) on every folder above it.';
  }
  return '';
}

/** The daemon's error as ours; its number, domain and message stay in the details. */
export function fromRemoteError(error: RemoteError, what: string): BringupError {
  const code = codes[error.code] ?? 'hypervisor-failed';
  return new BringupError(code, `${what} failed: ${error.message}.${hint(code, error.message)}`, {
    retryable: error.code === virError.operationTimeout || error.code === virError.resourceBusy,
    details: { libvirtCode: error.code, libvirtDomain: error.domain, libvirtMessage: error.message },
  });
}

/** Whether libvirt itself said this, one of the numbers if any are given. */
export function isRemoteError(error: unknown, ...numbers: readonly number[]): error is BringupError {
  if (!(error instanceof BringupError)) return false;
  const code = error.details['libvirtCode'];
  return typeof code === 'number' && (numbers.length === 0 || numbers.includes(code));
}
