import { invalidInput, isBringupError, isVmName, sleep, withDeadline } from '@bringup/core';
import type { ByteSource, CallOptions, Clock, DownloadOptions, TransferOptions, TransferReceipt } from '@bringup/core';
import type { Daemon } from './daemon.ts';
import { isRemoteError, virError } from './rpc/remote-error.ts';
import { StorageCalls } from './storage-calls.ts';
import type { PoolRef, VolumeRef } from './storage-calls.ts';
import { receiveVolume, sendVolume } from './volume-transfer.ts';
import { within } from './within.ts';
import { element, writeXml } from './xml.ts';

/** How a storage pool is. Only a `running` one can be used. */
export type StoragePoolState = 'inactive' | 'building' | 'running' | 'degraded' | 'inaccessible';

/** A place of libvirt's for disk images. */
export interface StoragePool {
  readonly name: string;
  readonly state: StoragePoolState;
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
  readonly availableBytes: number;
}

/** A disk image in a pool. */
export interface StorageVolume {
  readonly pool: string;
  readonly name: string;
  /** On the host: what a VM is given. */
  readonly path: string;
  /** Size of the disk; of a raw volume, of its file too. */
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
}

/** Which volume is meant. */
export interface VolumeName {
  readonly pool: string;
  /** Unique in its pool; `[A-Za-z0-9][A-Za-z0-9._-]*`. */
  readonly name: string;
}

/** A volume to create. */
export interface VolumeSpec extends VolumeName {
  readonly capacityBytes: number;
  /** Default `raw`. */
  readonly format?: 'raw' | 'qcow2';
}

/** Options of {@link LibvirtStorage.download}. */
export type VolumeDownloadOptions = Pick<DownloadOptions, 'sha256' | 'onProgress' | 'signal' | 'timeoutMs'>;

/**
 * Storage pools and volumes of a host, and their bytes. All of it goes through libvirt alone, so images
 * reach a host that gives nobody a shell.
 */
export interface LibvirtStorage {
  /** All pools of the host, running or not. */
  listPools(options?: CallOptions): Promise<readonly StoragePool[]>;
  /** The pool of that name, or undefined. */
  findPool(name: string, options?: CallOptions): Promise<StoragePool | undefined>;
  /**
   * A running pool of that name: the one there is, or a new one in a folder of the host, which is made if
   * need be and started with the host. @throws `hypervisor-failed`, `invalid-input`.
   */
  ensurePool(pool: { readonly name: string; readonly folder: string }, options?: CallOptions): Promise<StoragePool>;
  /** Forgets a pool; its folder and what is in it stay. None of that name is fine. */
  removePool(name: string, options?: CallOptions): Promise<void>;
  /** @throws `not-found` without such a pool, `hypervisor-failed` when it is not running. */
  listVolumes(pool: string, options?: CallOptions): Promise<readonly StorageVolume[]>;
  /** The volume, or undefined when there is none of that name. @throws as `listVolumes`. */
  findVolume(volume: VolumeName, options?: CallOptions): Promise<StorageVolume | undefined>;
  /** An empty volume. @throws `conflict` when the name is taken, `invalid-input`, and as `listVolumes`. */
  createVolume(volume: VolumeSpec, options?: CallOptions): Promise<StorageVolume>;
  /** Deletes a volume with its bytes. None of that name is fine. */
  deleteVolume(volume: VolumeName, options?: CallOptions): Promise<void>;
  /**
   * Stores the bytes of a source, an image of any format, as a new volume. They are read back and
   * compared; an upload that fails or is aborted leaves no volume.
   * @throws `conflict` when the name is taken, `checksum-mismatch`, `transfer-failed`, `disk-full`,
   * `aborted`, `deadline-exceeded`, `connection-lost`, and as `listVolumes`.
   */
  upload(source: ByteSource, volume: VolumeName, options?: TransferOptions): Promise<TransferReceipt>;
  /**
   * The bytes of a volume. The iteration ends normally only when all have come and their SHA-256 is
   * `options.sha256`, if that is given. Leaving the loop ends the transfer.
   * @throws `not-found`, `checksum-mismatch`, and as `upload`.
   */
  download(volume: VolumeName, options?: VolumeDownloadOptions): AsyncIterable<Uint8Array>;
}

/** What the storage of a host works with. */
export interface StorageParts {
  readonly daemon: Daemon;
  readonly clock: Clock;
  /** A connection of its own for each transfer, so that its back-pressure stops nobody else. */
  readonly openLine: (options: CallOptions) => Promise<Daemon>;
  /** What every call begins with. @throws when there is nothing to begin. */
  readonly enter: (what: string, options: CallOptions) => void;
}

const poolStates: readonly StoragePoolState[] = ['inactive', 'building', 'running', 'degraded', 'inaccessible'];

/** The daemon may need a moment to notice that a transfer was given up; until then its volume is in use. */
const cleanUp = { timeoutMs: 15_000, pauseMs: 100 } as const;

/** {@link LibvirtStorage} over one connection to the daemon. */
export class HostStorage implements LibvirtStorage {
  readonly #parts: StorageParts;
  readonly #calls: StorageCalls;

  constructor(parts: StorageParts) {
    this.#parts = parts;
    this.#calls = new StorageCalls(parts.daemon.connection);
  }

  async listPools(options: CallOptions = {}): Promise<readonly StoragePool[]> {
    this.#parts.enter('listPools', options);
    const pools: StoragePool[] = [];
    for (const pool of await this.#calls.pools(options)) pools.push(await this.#describePool(pool, options));
    return pools;
  }

  async findPool(name: string, options: CallOptions = {}): Promise<StoragePool | undefined> {
    this.#parts.enter('findPool', options);
    const pool = await orUndefined(this.#calls.pool(name, options));
    return pool && this.#describePool(pool, options);
  }

  async ensurePool(
    { name, folder }: { readonly name: string; readonly folder: string },
    options: CallOptions = {},
  ): Promise<StoragePool> {
    this.#parts.enter('ensurePool', options);
    checkName('pool', name);
    if (!folder.startsWith('/')) {
      throw invalidInput('The storage pool', [{ path: 'folder', message: 'must be an absolute path on the host' }]);
    }
    let pool = await orUndefined(this.#calls.pool(name, options));
    if (pool === undefined) {
      const target = element('target', {}, [element('path', {}, [folder])]);
      pool = await this.#calls.definePool(
        writeXml(element('pool', { type: 'dir' }, [element('name', {}, [name]), target])),
        options,
      );
      await this.#calls.buildPool(pool, options);
      await this.#calls.autostartPool(pool, options);
    }
    const found = await this.#describePool(pool, options);
    if (found.state !== 'inactive') return found;
    await this.#calls.startPool(pool, options);
    return this.#describePool(pool, options);
  }

  async removePool(name: string, options: CallOptions = {}): Promise<void> {
    this.#parts.enter('removePool', options);
    const pool = await orUndefined(this.#calls.pool(name, options));
    if (pool === undefined) return;
    const { state } = await this.#describePool(pool, options);
    if (state !== 'inactive') await this.#calls.stopPool(pool, options);
    await orUndefined(this.#calls.undefinePool(pool, options));
  }

  async #describePool(pool: PoolRef, options: CallOptions): Promise<StoragePool> {
    const { kind, ...space } = await this.#calls.poolSpace(pool, options);
    return { name: pool.name, state: poolStates[kind] ?? 'inaccessible', ...space };
  }

  async listVolumes(poolName: string, options: CallOptions = {}): Promise<readonly StorageVolume[]> {
    this.#parts.enter('listVolumes', options);
    const volumes: StorageVolume[] = [];
    for (const volume of await this.#calls.volumes(await this.#calls.pool(poolName, options), options)) {
      // One that is deleted meanwhile is not listed.
      const described = await orUndefined(this.#describeVolume(volume, options));
      if (described !== undefined) volumes.push(described);
    }
    return volumes;
  }

  async findVolume({ pool, name }: VolumeName, options: CallOptions = {}): Promise<StorageVolume | undefined> {
    this.#parts.enter('findVolume', options);
    const volume = await orUndefined(this.#calls.volume(await this.#calls.pool(pool, options), name, options));
    // It may be deleted between one question and the next.
    return volume && orUndefined(this.#describeVolume(volume, options));
  }

  async #describeVolume(volume: VolumeRef, options: CallOptions): Promise<StorageVolume> {
    const { kind: _kind, ...space } = await this.#calls.volumeSpace(volume, options);
    const path = await this.#calls.volumePath(volume, options);
    return { pool: volume.pool, name: volume.name, path, ...space };
  }

  async createVolume(spec: VolumeSpec, options: CallOptions = {}): Promise<StorageVolume> {
    this.#parts.enter('createVolume', options);
    return this.#describeVolume(await this.#create(spec, options), options);
  }

  async #create(spec: VolumeSpec, options: CallOptions): Promise<VolumeRef> {
    checkName('volume', spec.name);
    const { capacityBytes, format = 'raw' } = spec;
    if (!Number.isSafeInteger(capacityBytes) || capacityBytes < 0) {
      throw invalidInput('The volume', [{ path: 'capacityBytes', message: 'must be a whole number of bytes' }]);
    }
    const pool = await this.#calls.pool(spec.pool, options);
    const xml = writeXml(
      element('volume', {}, [
        element('name', {}, [spec.name]),
        element('capacity', { unit: 'bytes' }, [String(capacityBytes)]),
        element('allocation', { unit: 'bytes' }, ['0']),
        element('target', {}, [element('format', { type: format })]),
      ]),
    );
    return this.#calls.createVolume(pool, xml, options);
  }

  async deleteVolume({ pool, name }: VolumeName, options: CallOptions = {}): Promise<void> {
    this.#parts.enter('deleteVolume', options);
    await orUndefined(
      (async () => {
        const volume = await this.#calls.volume(await this.#calls.pool(pool, options), name, options);
        await this.#calls.deleteVolume(volume, options);
      })(),
    );
  }

  async upload(source: ByteSource, name: VolumeName, options: TransferOptions = {}): Promise<TransferReceipt> {
    this.#parts.enter('upload', options);
    const { clock } = this.#parts;
    return within(clock, `Upload of ${name.name}`, options, async (call) => {
      // Not to be given up half-way: nobody would know whether the volume is ours.
      const volume = await this.#create({ ...name, capacityBytes: source.sizeBytes }, {});
      try {
        return await sendVolume(this.#parts, volume, source, { ...options, ...call });
      } catch (error) {
        await this.#discard(volume).catch(() => {});
        throw error;
      }
    });
  }

  async *download(name: VolumeName, options: VolumeDownloadOptions = {}): AsyncGenerator<Uint8Array, void> {
    this.#parts.enter('download', options);
    const volume = await this.#calls.volume(await this.#calls.pool(name.pool, options), name.name, options);
    yield* receiveVolume(this.#parts, volume, await this.#calls.volumeBytes(volume, options), options);
  }

  /** Deletes what a failed upload has left, as soon as the daemon lets it go. */
  async #discard(volume: VolumeRef): Promise<void> {
    const { clock } = this.#parts;
    await withDeadline(clock, `Removal of ${volume.name}`, cleanUp, async (signal) => {
      for (;;) {
        try {
          await orUndefined(this.#calls.deleteVolume(volume, { signal }));
          return;
        } catch (error) {
          if (!isRemoteError(error, virError.operationInvalid, virError.resourceBusy)) throw error;
          await sleep(clock, cleanUp.pauseMs, signal);
        }
      }
    });
  }
}

function checkName(what: 'pool' | 'volume', name: string): void {
  if (isVmName(name)) return;
  throw invalidInput(`The storage ${what}`, [
    { path: 'name', message: 'must match [A-Za-z0-9][A-Za-z0-9._-]* and have at most 128 characters' },
  ]);
}

async function orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isBringupError(error, 'not-found')) return undefined;
    throw error;
  }
}
