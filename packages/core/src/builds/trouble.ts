import type { BringupError, ErrorCode } from '../errors.ts';

/** What says something about the server a build was given, and nothing about the source it builds. */
const serverTrouble: readonly ErrorCode[] = [
  'connection-failed',
  'connection-lost',
  'unavailable',
  'authentication-failed',
  'host-key-unknown',
  'host-key-changed',
  'deadline-exceeded',
  'process-lost',
  'dependency-missing',
  'toolchain-missing',
  'disk-full',
  // It was decommissioned by force.
  'not-found',
];

/** Whether the same build may well succeed on another server. */
export function isServerTrouble(error: BringupError): boolean {
  return serverTrouble.includes(error.code);
}
