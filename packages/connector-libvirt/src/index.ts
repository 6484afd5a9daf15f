/**
 * VMs through libvirt's own remote procedure calls.
 *
 * @module @bringup/connector-libvirt
 */
export { libvirt } from './connector.ts';
export type { LibvirtOptions } from './connector.ts';
export type { LibvirtTls, LibvirtUnencryptedTcp } from './direct.ts';
export type { LibvirtAccount } from './sign-in.ts';
