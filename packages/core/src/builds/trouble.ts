import type { BringupError, ErrorCode } from '../errors.ts';
import { machineTrouble } from '../pool/machine-trouble.ts';

const serverTrouble: readonly ErrorCode[] = [...machineTrouble, 'toolchain-missing'];

/** Whether the same build may well succeed on another server. */
export function isServerTrouble(error: BringupError): boolean {
  return serverTrouble.includes(error.code);
}
