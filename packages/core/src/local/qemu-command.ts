import type { VmSpec } from '../contracts/hypervisor.ts';
import type { Architecture } from '../model/architecture.ts';

/** File descriptor on which QEMU says that it is ready. */
export const readyFd = 3;

/** Base name of the two ends of the console: `.in` and `.out`. */
export const consolePipe = 'console';

const defaultMachines: Readonly<Record<Architecture, string>> = {
  x86_64: 'pc',
  arm64: 'virt',
  armv7: 'virt',
  riscv64: 'virt',
};

// Emulated pointer authentication by the architected algorithm makes arm64 several times slower.
const emulatedCpus: Readonly<Partial<Record<Architecture, string>>> = {
  x86_64: 'max',
  arm64: 'max,pauth-impdef=on',
  armv7: 'max',
};

/**
 * The arguments of QEMU for a VM. Its own files are named relative to the VM's folder, in which
 * QEMU runs, because the path of a socket is limited to 107 bytes.
 */
export function qemuArguments(spec: VmSpec, id: string, accelerator: 'kvm' | 'tcg'): string[] {
  const machine = spec.machine ?? defaultMachines[spec.architecture];
  const cpu = spec.cpuModel ?? (accelerator === 'kvm' ? 'host' : emulatedCpus[spec.architecture]);
  return [
    ...['-name', spec.name, '-uuid', id],
    ...['-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot', '-S'],
    ...['-machine', machine, '-accel', accelerator],
    ...(cpu === undefined ? [] : ['-cpu', cpu]),
    ...['-smp', String(spec.cpus), '-m', `${spec.memoryMb}M`],
    ...['-kernel', spec.kernel, '-append', spec.commandLine],
    ...(spec.initrd === undefined ? [] : ['-initrd', spec.initrd]),
    ...(spec.deviceTree === undefined ? [] : ['-dtb', spec.deviceTree]),
    ...diskArguments(spec, machine),
    ...displayArguments(spec),
    // A pipe chardev reads console.in, a FIFO, and writes console.out, here a regular file: the log.
    // A socket's logfile= would not do: it repeats bytes whenever the client reads too slowly.
    ...['-chardev', `pipe,id=console,path=${consolePipe}`, '-serial', 'chardev:console'],
    ...['-chardev', 'socket,id=qmp,path=qmp.sock,server=on,wait=off', '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', `socket,id=ready,fd=${readyFd}`, '-mon', 'chardev=ready,mode=control'],
    ...['-pidfile', 'state/qemu.pid'],
  ];
}

/** The root file system as a virtio disk whose writes go to a temporary overlay. */
function diskArguments({ rootfs }: VmSpec, machine: string): string[] {
  if (rootfs === undefined) return [];
  // A comma separates QEMU's options and is written twice within one.
  const file = rootfs.path.replaceAll(',', ',,');
  const device = machine.startsWith('microvm') ? 'virtio-blk-device' : 'virtio-blk-pci';
  return [
    ...['-drive', `id=rootfs,if=none,format=${rootfs.format},snapshot=on,file=${file}`],
    ...['-device', `${device},drive=rootfs`],
  ];
}

/** A display that nobody looks at but screenshots. */
function displayArguments({ display, architecture }: VmSpec): string[] {
  if (display !== true) return [];
  return ['-device', architecture === 'x86_64' ? 'VGA' : 'virtio-gpu-pci'];
}
