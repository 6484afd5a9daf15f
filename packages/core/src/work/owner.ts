import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Who holds a lease: one process of one boot of one machine. Written into leases so that others
 * on the same machine can tell at once, without waiting for the lease to run out, that its process
 * is gone.
 */
export interface ProcessIdentity {
  readonly host: string;
  readonly bootId: string;
  /** Process ids mean something only within it: containers of one machine have their own. */
  readonly pidNamespace: string;
  readonly pid: number;
  /** Start time of the process in clock ticks since boot; tells a reused pid apart. */
  readonly startTicks: string;
}

function readOr(path: string, fallback: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return fallback;
  }
}

/** Start time of a process (field 22 of proc_pid_stat(5)), or undefined when there is none. */
export function processStartTicks(pid: number | 'self'): string | undefined {
  const stat = readOr(`/proc/${pid}/stat`, '');
  // The second field is the command in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie (Z) or dead (X) process does no more work.
  if (stat === '' || fields[0] === 'Z' || fields[0] === 'X') return undefined;
  return fields[19];
}

function linkOr(path: string, fallback: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return fallback;
  }
}

/** Identity of this process. */
export function thisProcess(): ProcessIdentity {
  return {
    host: hostname(),
    bootId: readOr('/proc/sys/kernel/random/boot_id', ''),
    pidNamespace: linkOr('/proc/self/ns/pid', ''),
    pid: process.pid,
    startTicks: processStartTicks('self') ?? '',
  };
}

/** The identity as text for the store; `nonce` tells several labs in one process apart. */
export function formatOwner(identity: ProcessIdentity, nonce: string): string {
  return [identity.host, identity.bootId, identity.pidNamespace, identity.pid, identity.startTicks, nonce].join('|');
}

/**
 * Whether the owner is known to be dead: it ran on this machine, and either the machine was booted
 * since or its process is gone. Owners elsewhere are never known to be dead; their lease decides.
 */
export function isKnownDead(owner: string, self: ProcessIdentity): boolean {
  const [host, bootId, pidNamespace, pid, startTicks] = owner.split('|');
  if (self.bootId === '' || host !== self.host) return false;
  if (bootId !== self.bootId) return true;
  if (pidNamespace !== self.pidNamespace) return false;
  // Another lab of this very process: it lives, and the kernel need not be asked.
  if (Number(pid) === self.pid && startTicks === self.startTicks) return false;
  return processStartTicks(Number(pid)) !== startTicks;
}
