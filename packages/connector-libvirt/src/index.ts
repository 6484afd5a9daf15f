export { libvirt } from './connector.ts';
export type { LibvirtOptions } from './connector.ts';
