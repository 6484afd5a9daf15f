import type { VmSpec } from '@bringup/core';
import { libvirtArchitectures } from './capabilities.ts';
import { tagsElement } from './tags.ts';
import { element, writeXml } from './xml.ts';
import type { XmlElement } from './xml.ts';

/** What the connector adds to a {@link VmSpec}. */
export interface DomainParts {
  readonly accelerator: 'kvm' | 'tcg';
  /** File to which the console is logged; it exists already. */
  readonly consoleLog: string;
  /** Throw-away qcow2 image over the root file system. */
  readonly overlay: string | undefined;
}

function cpu(model: string | undefined, accelerator: DomainParts['accelerator']): XmlElement {
  if (model === 'host' || (model === undefined && accelerator === 'kvm'))
    return element('cpu', { mode: 'host-passthrough' });
  if (model === 'max' || model === undefined) return element('cpu', { mode: 'maximum' });
  return element('cpu', { mode: 'custom', match: 'exact', check: 'none' }, [
    element('model', { fallback: 'forbid' }, [model]),
  ]);
}

function disk(overlay: string, base: NonNullable<VmSpec['rootfs']>): XmlElement {
  return element('disk', { type: 'file', device: 'disk' }, [
    // The image is thrown away with the VM: nothing is gained by flushing it.
    element('driver', { name: 'qemu', type: 'qcow2', cache: 'unsafe' }),
    element('source', { file: overlay }),
    element('backingStore', { type: 'file' }, [
      element('format', { type: base.format }),
      element('source', { file: base.path }),
    ]),
    element('target', { dev: 'vda', bus: 'virtio' }),
  ]);
}

/**
 * libvirt's description of a VM (https://libvirt.org/formatdomain.html). A reset or a power-off
 * ends the VM, so that a silent reset can't pass for a boot.
 * @throws `invalid-input` for text that XML can't hold.
 */
export function domainXml(spec: VmSpec, parts: DomainParts): string {
  const x86 = spec.architecture === 'x86_64';
  const file = (name: string, path: string | undefined): XmlElement | undefined =>
    path === undefined ? undefined : element(name, {}, [path]);
  return writeXml(
    element('domain', { type: parts.accelerator === 'kvm' ? 'kvm' : 'qemu' }, [
      element('name', {}, [spec.name]),
      element('metadata', {}, [tagsElement(spec.tags)]),
      element('memory', { unit: 'MiB' }, [String(spec.memoryMb)]),
      element('vcpu', {}, [String(spec.cpus)]),
      element('os', {}, [
        element(
          'type',
          { arch: libvirtArchitectures[spec.architecture], machine: spec.machine ?? (x86 ? 'pc' : 'virt') },
          ['hvm'],
        ),
        file('kernel', spec.kernel),
        file('initrd', spec.initrd),
        file('cmdline', spec.commandLine),
        file('dtb', spec.deviceTree),
      ]),
      // Elsewhere libvirt takes ACPI only together with UEFI firmware.
      x86 ? element('features', {}, [element('acpi'), element('apic')]) : undefined,
      cpu(spec.cpuModel, parts.accelerator),
      element('on_poweroff', {}, ['destroy']),
      element('on_reboot', {}, ['destroy']),
      element('on_crash', {}, ['destroy']),
      element('devices', {}, [
        spec.rootfs === undefined || parts.overlay === undefined ? undefined : disk(parts.overlay, spec.rootfs),
        x86 ? element('controller', { type: 'usb', model: 'none' }) : undefined,
        element('serial', { type: 'pty' }, [
          // The file is made beforehand, so that it belongs to the account that reads it.
          element('log', { file: parts.consoleLog, append: 'on' }),
          element('target', { port: 0 }),
        ]),
        element('console', { type: 'pty' }, [element('target', { type: 'serial', port: 0 })]),
        spec.display === true ? element('video', {}, [element('model', { type: x86 ? 'vga' : 'virtio' })]) : undefined,
        element('memballoon', { model: 'none' }),
      ]),
    ]),
  );
}
