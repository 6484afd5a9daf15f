/**
 * VMs through libvirt's own remote procedure calls.
 *
 * @module @bringup/connector-libvirt
 */
export { libvirt } from './connector.ts';
export type { LibvirtConnector, LibvirtOptions } from './connector.ts';
export type { LibvirtSession } from './hypervisor.ts';
export type { LibvirtSnapshots, VmSnapshot } from './snapshots.ts';
export type {
  LibvirtStorage,
  StoragePool,
  StoragePoolState,
  StorageVolume,
  VolumeDownloadOptions,
  VolumeName,
  VolumeSpec,
} from './storage.ts';
export type { LibvirtTls, LibvirtUnencryptedTcp } from './direct.ts';
export type { LibvirtAccount } from './sign-in.ts';
