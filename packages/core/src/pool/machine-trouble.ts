import type { ErrorCode } from '../errors.ts';

/** What says something about the machine that was given, and nothing about what it was given for: another one may do. */
export const machineTrouble: readonly ErrorCode[] = [
  'connection-failed',
  'connection-lost',
  'unavailable',
  'authentication-failed',
  'host-key-unknown',
  'host-key-changed',
  'deadline-exceeded',
  'process-lost',
  'dependency-missing',
  'disk-full',
  // It was decommissioned by force.
  'not-found',
];
