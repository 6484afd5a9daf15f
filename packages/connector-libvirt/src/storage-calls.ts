import type { CallOptions } from '@bringup/core';
import type { RpcConnection } from './rpc/connection.ts';
import type { Procedure } from './rpc/procedures.ts';
import type { RpcStream } from './rpc/stream.ts';
import { XdrWriter } from './rpc/xdr.ts';
import type { XdrReader } from './rpc/xdr.ts';

/** A pool as libvirt refers to it: remote_nonnull_storage_pool. */
export interface PoolRef {
  readonly name: string;
  readonly uuid: Buffer;
}

/** A volume as libvirt refers to it: remote_nonnull_storage_vol. */
export interface VolumeRef {
  readonly pool: string;
  readonly name: string;
  readonly key: string;
}

/** What a pool or a volume holds. */
export interface SpaceInfo {
  /** virStoragePoolState of a pool, virStorageVolType of a volume. */
  readonly kind: number;
  readonly capacityBytes: number;
  readonly allocatedBytes: number;
}

const uuidBytes = 16;
// REMOTE_STORAGE_POOL_LIST_MAX, REMOTE_STORAGE_VOL_LIST_MAX
const maxListed = 16_384;
/** VIR_STORAGE_VOL_GET_PHYSICAL: the size of the file in place of what is allocated of it. */
const getPhysical = 1;

function readPool(reader: XdrReader): PoolRef {
  return { name: reader.string(), uuid: Buffer.from(reader.fixed(uuidBytes)) };
}

function writePool(pool: PoolRef): XdrWriter {
  return new XdrWriter().string(pool.name).fixed(pool.uuid);
}

function readVolume(reader: XdrReader): VolumeRef {
  return { pool: reader.string(), name: reader.string(), key: reader.string() };
}

function writeVolume(volume: VolumeRef): XdrWriter {
  return new XdrWriter().string(volume.pool).string(volume.name).string(volume.key);
}

function readSpace(reader: XdrReader): SpaceInfo {
  return { kind: reader.i32(), capacityBytes: Number(reader.u64()), allocatedBytes: Number(reader.u64()) };
}

/**
 * libvirt's storage procedures as typed methods. A modular `virtqemud` passes them on to `virtstoraged`.
 * Every method throws as `RpcConnection.call`.
 */
export class StorageCalls {
  readonly #connection: RpcConnection;

  constructor(connection: RpcConnection) {
    this.#connection = connection;
  }

  #call(procedure: Procedure, args: XdrWriter, options: CallOptions): Promise<XdrReader> {
    return this.#connection.call(procedure, args.bytes(), options);
  }

  async pools(options: CallOptions): Promise<PoolRef[]> {
    const reply = await this.#call('connectListAllStoragePools', new XdrWriter().i32(1).u32(0), options);
    return reply.array(maxListed, () => readPool(reply));
  }

  async pool(name: string, options: CallOptions): Promise<PoolRef> {
    return readPool(await this.#call('storagePoolLookupByName', new XdrWriter().string(name), options));
  }

  async poolSpace(pool: PoolRef, options: CallOptions): Promise<SpaceInfo & { readonly availableBytes: number }> {
    const reply = await this.#call('storagePoolGetInfo', writePool(pool), options);
    return { ...readSpace(reply), availableBytes: Number(reply.u64()) };
  }

  async definePool(xml: string, options: CallOptions): Promise<PoolRef> {
    return readPool(await this.#call('storagePoolDefineXml', new XdrWriter().string(xml).u32(0), options));
  }

  /** Makes what the pool lies in, such as its folder. */
  async buildPool(pool: PoolRef, options: CallOptions): Promise<void> {
    await this.#call('storagePoolBuild', writePool(pool).u32(0), options);
  }

  async startPool(pool: PoolRef, options: CallOptions): Promise<void> {
    await this.#call('storagePoolCreate', writePool(pool).u32(0), options);
  }

  async autostartPool(pool: PoolRef, options: CallOptions): Promise<void> {
    await this.#call('storagePoolSetAutostart', writePool(pool).i32(1), options);
  }

  /** Stops a pool; what is in it stays. */
  async stopPool(pool: PoolRef, options: CallOptions): Promise<void> {
    await this.#call('storagePoolDestroy', writePool(pool), options);
  }

  async undefinePool(pool: PoolRef, options: CallOptions): Promise<void> {
    await this.#call('storagePoolUndefine', writePool(pool), options);
  }

  async volumes(pool: PoolRef, options: CallOptions): Promise<VolumeRef[]> {
    const reply = await this.#call('storagePoolListAllVolumes', writePool(pool).i32(1).u32(0), options);
    return reply.array(maxListed, () => readVolume(reply));
  }

  async volume(pool: PoolRef, name: string, options: CallOptions): Promise<VolumeRef> {
    return readVolume(await this.#call('storageVolLookupByName', writePool(pool).string(name), options));
  }

  async volumeSpace(volume: VolumeRef, options: CallOptions): Promise<SpaceInfo> {
    return readSpace(await this.#call('storageVolGetInfo', writeVolume(volume), options));
  }

  /** How many bytes a volume's file or device has, whatever its format says of its capacity. */
  async volumeBytes(volume: VolumeRef, options: CallOptions): Promise<number> {
    const args = writeVolume(volume).u32(getPhysical);
    return readSpace(await this.#call('storageVolGetInfoFlags', args, options)).allocatedBytes;
  }

  async volumePath(volume: VolumeRef, options: CallOptions): Promise<string> {
    return (await this.#call('storageVolGetPath', writeVolume(volume), options)).string();
  }

  async createVolume(pool: PoolRef, xml: string, options: CallOptions): Promise<VolumeRef> {
    return readVolume(await this.#call('storageVolCreateXml', writePool(pool).string(xml).u32(0), options));
  }

  async deleteVolume(volume: VolumeRef, options: CallOptions): Promise<void> {
    await this.#call('storageVolDelete', writeVolume(volume).u32(0), options);
  }

  /** Opens a stream into a volume's first `bytes`. */
  async openUpload(volume: VolumeRef, bytes: number, options: CallOptions): Promise<RpcStream> {
    const args = writeVolume(volume).u64(0n).u64(BigInt(bytes)).u32(0).bytes();
    return (await this.#connection.openStream('storageVolUpload', args, options)).stream;
  }

  /** Opens a stream with `bytes` of a volume from `offset` on. */
  async openDownload(volume: VolumeRef, offset: number, bytes: number, options: CallOptions): Promise<RpcStream> {
    const args = writeVolume(volume).u64(BigInt(offset)).u64(BigInt(bytes)).u32(0).bytes();
    return (await this.#connection.openStream('storageVolDownload', args, options)).stream;
  }
}
