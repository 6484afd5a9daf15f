import { BringupError, invalidInput, isVmName, limits } from '@bringup/core';
import type { CallOptions, VmState } from '@bringup/core';
import type { DomainRef } from './domain.ts';
import { readDomain, writeDomain } from './domain.ts';
import type { RpcConnection } from './rpc/connection.ts';
import { XdrWriter } from './rpc/xdr.ts';
import type { XdrReader } from './rpc/xdr.ts';
import { child, element, readXml, text, writeXml } from './xml.ts';

/** A state of a VM to go back to: its disk, and its memory if it ran. */
export interface VmSnapshot {
  readonly name: string;
  /** What the VM was when it was taken, and is again after a revert. */
  readonly state: VmState;
  /** Epoch milliseconds, in whole seconds, by the host's clock. */
  readonly createdAt: number;
}

/**
 * Snapshots of VMs that have a root file system. They are kept within the VM's own image and go with it.
 */
export interface LibvirtSnapshots {
  /**
   * Takes a snapshot; a running guest stands still meanwhile.
   * @throws `not-found` without such a VM, `conflict` when the name is taken or the VM is not ours,
   * `unsupported` for a VM without a disk, `invalid-input`.
   */
  create(vm: string, name: string, options?: CallOptions): Promise<VmSnapshot>;
  /** The VM's snapshots, the oldest first. @throws `not-found`. */
  list(vm: string, options?: CallOptions): Promise<readonly VmSnapshot[]>;
  /**
   * Makes the VM what it was. Its QEMU is another one then, so an open console ends with
   * `connection-lost`: open it again from its offset, since what was said stays said.
   * @throws `not-found` without such a VM or snapshot, `conflict` when the VM is not ours.
   */
  revert(vm: string, name: string, options?: CallOptions): Promise<void>;
  /** Removes a snapshot. None of that name is fine. @throws `not-found` without such a VM, `conflict`. */
  remove(vm: string, name: string, options?: CallOptions): Promise<void>;
}

/** What snapshots are taken with. */
export interface SnapshotParts {
  readonly connection: RpcConnection;
  /** The VM of that name, which must be ours if something is done to it. @throws `not-found`, `conflict`. */
  readonly domain: (name: string, mustBeOurs: boolean, options: CallOptions) => Promise<DomainRef>;
}

interface SnapshotRef {
  readonly name: string;
  readonly domain: DomainRef;
}

// REMOTE_DOMAIN_SNAPSHOT_LIST_MAX
const maxSnapshots = 16_384;

function readSnapshot(reader: XdrReader): SnapshotRef {
  return { name: reader.string(), domain: readDomain(reader) };
}

function writeSnapshot({ name, domain }: SnapshotRef): XdrWriter {
  return writeDomain(new XdrWriter().string(name), domain);
}

const states: Readonly<Record<string, VmState>> = { running: 'running', paused: 'paused', crashed: 'crashed' };

/** Reads libvirt's description of a snapshot. @throws `hypervisor-failed` for what is no XML. */
export function parseSnapshot(xml: string): Omit<VmSnapshot, 'name'> {
  const root = child(readXml(xml), 'domainsnapshot');
  const seconds = Number(text(child(root, 'creationTime')));
  return {
    state: states[text(child(root, 'state')) ?? ''] ?? 'stopped',
    createdAt: Number.isSafeInteger(seconds) ? seconds * 1000 : 0,
  };
}

/** {@link LibvirtSnapshots} over one connection to the daemon. */
export class DomainSnapshots implements LibvirtSnapshots {
  readonly #parts: SnapshotParts;

  constructor(parts: SnapshotParts) {
    this.#parts = parts;
  }

  async create(vm: string, name: string, options: CallOptions = {}): Promise<VmSnapshot> {
    const bounds = bounded(options);
    const domain = await this.#parts.domain(vm, true, bounds);
    if (!isVmName(name)) {
      throw invalidInput('The snapshot', [
        { path: 'name', message: 'must match [A-Za-z0-9][A-Za-z0-9._-]* and have at most 128 characters' },
      ]);
    }
    if ((await this.#all(domain, bounds)).some((snapshot) => snapshot.name === name)) {
      throw new BringupError('conflict', `The VM ${vm} has a snapshot named ${name} already.`, {
        details: { vm, name },
      });
    }
    const xml = writeXml(element('domainsnapshot', {}, [element('name', {}, [name])]));
    const args = writeDomain(new XdrWriter(), domain).string(xml).u32(0).bytes();
    const taken = readSnapshot(await this.#parts.connection.call('domainSnapshotCreateXml', args, bounds));
    return this.#describe(taken, bounds);
  }

  async list(vm: string, options: CallOptions = {}): Promise<readonly VmSnapshot[]> {
    const bounds = bounded(options);
    const snapshots: VmSnapshot[] = [];
    for (const snapshot of await this.#all(await this.#parts.domain(vm, false, bounds), bounds)) {
      snapshots.push(await this.#describe(snapshot, bounds));
    }
    return snapshots.toSorted((one, other) => one.createdAt - other.createdAt);
  }

  async revert(vm: string, name: string, options: CallOptions = {}): Promise<void> {
    const bounds = bounded(options);
    const snapshot = await this.#find(await this.#parts.domain(vm, true, bounds), name, bounds);
    if (snapshot === undefined) {
      throw new BringupError('not-found', `The VM ${vm} has no snapshot named ${name}.`, { details: { vm, name } });
    }
    await this.#parts.connection.call('domainRevertToSnapshot', writeSnapshot(snapshot).u32(0).bytes(), bounds);
  }

  async remove(vm: string, name: string, options: CallOptions = {}): Promise<void> {
    const bounds = bounded(options);
    const snapshot = await this.#find(await this.#parts.domain(vm, true, bounds), name, bounds);
    if (snapshot === undefined) return;
    await this.#parts.connection.call('domainSnapshotDelete', writeSnapshot(snapshot).u32(0).bytes(), bounds);
  }

  async #find(domain: DomainRef, name: string, options: CallOptions): Promise<SnapshotRef | undefined> {
    return (await this.#all(domain, options)).find((snapshot) => snapshot.name === name);
  }

  async #all(domain: DomainRef, options: CallOptions): Promise<SnapshotRef[]> {
    const args = writeDomain(new XdrWriter(), domain).i32(1).u32(0).bytes();
    const reply = await this.#parts.connection.call('domainListAllSnapshots', args, options);
    return reply.array(maxSnapshots, () => readSnapshot(reply));
  }

  async #describe(snapshot: SnapshotRef, options: CallOptions): Promise<VmSnapshot> {
    const args = writeSnapshot(snapshot).u32(0).bytes();
    const xml = (await this.#parts.connection.call('domainSnapshotGetXmlDesc', args, options)).string();
    return { name: snapshot.name, ...parseSnapshot(xml) };
  }
}

/** The memory of a guest is written or read as a whole: that takes its time. */
function bounded(options: CallOptions): CallOptions {
  return { timeoutMs: limits.snapshotTimeoutMs, ...options };
}
