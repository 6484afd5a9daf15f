import type { Architecture } from '@bringup/core';
import { child, children, readXml, text } from './xml.ts';

/** libvirt's names of the architectures (its virArch). */
export const libvirtArchitectures: Readonly<Record<Architecture, string>> = {
  x86_64: 'x86_64',
  arm64: 'aarch64',
  armv7: 'armv7l',
  riscv64: 'riscv64',
};

/** What the daemon's capabilities say that matters here. */
export interface HostCapabilities {
  /** The host's own architecture, undefined when it is none of ours. */
  readonly host: Architecture | undefined;
  /** Architectures with an emulator. */
  readonly emulated: readonly Architecture[];
  /** Architectures for which KVM is offered. An offer only: see `provesKvm`. */
  readonly kvmOffered: readonly Architecture[];
}

const architecturesByName: ReadonlyMap<string, Architecture> = new Map(
  Object.entries(libvirtArchitectures).map(([ours, theirs]) => [theirs, ours as Architecture]),
);

/** Reads the XML of virConnectGetCapabilities. @throws `hypervisor-failed` for what is no XML. */
export function parseCapabilities(xml: string): HostCapabilities {
  const root = child(readXml(xml), 'capabilities');
  const guests = children(root, 'guest').flatMap((guest) => {
    const arch = child(guest, 'arch');
    const architecture = architecturesByName.get(text(arch, 'name') ?? '');
    if (architecture === undefined || text(child(guest, 'os_type')) !== 'hvm') return [];
    const kvm = children(arch, 'domain').some((domain) => text(domain, 'type') === 'kvm');
    return [{ architecture, kvm }];
  });
  return {
    host: architecturesByName.get(text(child(child(child(root, 'host'), 'cpu'), 'arch')) ?? ''),
    emulated: [...new Set(guests.map(({ architecture }) => architecture))],
    kvmOffered: [...new Set(guests.filter(({ kvm }) => kvm).map(({ architecture }) => architecture))],
  };
}

/** `QEMU 7.2.19` from libvirt's version number. */
export function formatVersion(product: string, version: number): string {
  return `${product} ${Math.floor(version / 1_000_000)}.${Math.floor(version / 1_000) % 1_000}.${version % 1_000}`;
}
