import type { VmState } from '@bringup/core';
import type { XdrReader, XdrWriter } from './rpc/xdr.ts';

/** A domain as libvirt refers to it: remote_nonnull_domain. */
export interface DomainRef {
  readonly name: string;
  readonly uuid: Buffer;
  /** Number while it is active, else -1. */
  readonly id: number;
}

const uuidBytes = 16;

/** Reads a remote_nonnull_domain. */
export function readDomain(reader: XdrReader): DomainRef {
  const name = reader.string();
  // A copy: the view would keep the whole message alive.
  const uuid = Buffer.from(reader.fixed(uuidBytes));
  return { name, uuid, id: reader.i32() };
}

/** Writes a remote_nonnull_domain. */
export function writeDomain(writer: XdrWriter, domain: DomainRef): XdrWriter {
  return writer.string(domain.name).fixed(domain.uuid).i32(domain.id);
}

// virDomainState, and of its reasons those that mean a crash (include/libvirt/libvirt-domain.h).
const domainState = { paused: 3, shutoff: 5, crashed: 6, suspended: 7 } as const;
const pausedBecauseCrashed = 10;
const pausedBecauseStarting = 11;
const shutoffBecauseCrashed = 3;
const shutoffBecauseFailed = 6;

/** Whether a domain is in the middle of being started: it has no QEMU yet, or one that libvirt does not speak to yet. */
export function isStarting(state: number, reason: number): boolean {
  return state === domainState.paused && reason === pausedBecauseStarting;
}

/** libvirt's state and its reason as ours. A VM that is shutting down still runs, one that is being started does not yet. */
export function vmState(state: number, reason: number): VmState {
  if (isStarting(state, reason)) return 'stopped';
  switch (state) {
    case domainState.paused:
      return reason === pausedBecauseCrashed ? 'crashed' : 'paused';
    case domainState.suspended:
      return 'paused';
    case domainState.shutoff:
      return reason === shutoffBecauseCrashed || reason === shutoffBecauseFailed ? 'crashed' : 'stopped';
    case domainState.crashed:
      return 'crashed';
    default:
      return 'running';
  }
}
