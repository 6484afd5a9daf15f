import type { Architecture } from '../model/architecture.ts';
import type { Console } from './console.ts';
import type { CallOptions } from './runtime.ts';
import type { ShellSession, ShellTarget } from './shell.ts';

/** What a hypervisor on a host can do: detected, never asked. */
export interface HypervisorCapabilities {
  /** Product and version, such as `QEMU 7.2.0`. */
  readonly version: string;
  /** Architectures for which it has an emulator. */
  readonly architectures: readonly Architecture[];
  /** Whether a guest has been *seen* to run under KVM; an openable /dev/kvm is no proof. */
  readonly kvm: boolean;
  /** Whether guests can use KVM themselves. */
  readonly nestedVirt: boolean;
  readonly cpuCores: number;
  readonly memoryMb: number;
}

/** A disk of a VM. */
export interface VmDisk {
  /** Absolute path on the host. The connector attaches it so that guest writes never reach the file. */
  readonly path: string;
  readonly format: 'raw' | 'qcow2';
}

/** A VM to create. Paths are absolute and on the host. */
export interface VmSpec {
  /** Unique on the host; `[A-Za-z0-9][A-Za-z0-9._-]*`. */
  readonly name: string;
  readonly architecture: Architecture;
  readonly cpus: number;
  readonly memoryMb: number;
  readonly kernel: string;
  readonly initrd?: string;
  readonly deviceTree?: string;
  readonly rootfs?: VmDisk;
  /** Kernel command line. */
  readonly commandLine: string;
  /** QEMU machine type. Default: `pc` on x86_64, `virt` elsewhere. */
  readonly machine?: string;
  /** QEMU CPU model. Default: the emulator's best for the architecture. */
  readonly cpuModel?: string;
  /** `kvm` only where it is proven; `auto` takes KVM if proven, else TCG. Default `auto`. */
  readonly accelerator?: 'auto' | 'kvm' | 'tcg';
  /** Whether it has a display adapter, of which screenshots can be taken. Default false. */
  readonly display?: boolean;
  /** Kept with the VM on the host, so that orphans are recognised: ids only, no secrets. */
  readonly tags: Readonly<Record<string, string>>;
}

/** `paused`: created, not one instruction executed, or stopped by the hypervisor. */
export type VmState = 'paused' | 'running' | 'stopped' | 'crashed';

/** A VM as the host knows it. */
export interface VmInfo {
  readonly name: string;
  readonly state: VmState;
  /** The tags it was created with; empty for VMs that are not ours. */
  readonly tags: Readonly<Record<string, string>>;
}

/** A change in the life of a VM. */
export interface VmEvent {
  readonly name: string;
  readonly type: 'created' | 'started' | 'stopped' | 'crashed' | 'rebooted' | 'removed';
}

/** What a VM's display shows. */
export interface Screenshot {
  /** Format of the image: `image/png` or `image/x-portable-pixmap`, as the host makes it. */
  readonly mimeType: string;
  /** The image's file, whole. */
  readonly image: Uint8Array;
}

/** Options of {@link Hypervisor.openConsole}. */
export interface OpenConsoleOptions extends CallOptions {
  /**
   * First byte wanted, counted from the VM's first byte of output. Default 0: everything it ever
   * said. The output then goes on live with no gap and no repeat.
   */
  readonly offset?: number;
}

/**
 * VMs on one host. VMs outlive the connection: they end only by `destroyVm`, by themselves or with
 * their host. A guest that reboots or powers off stops the VM (`-no-reboot`), so a silent reset
 * can't pass for a boot.
 */
export interface Hypervisor extends AsyncDisposable {
  /** What the host can run, as it is now. @throws `hypervisor-failed`, `connection-lost`. */
  capabilities(options?: CallOptions): Promise<HypervisorCapabilities>;
  /** All VMs on the host, ours and others'. */
  listVms(options?: CallOptions): Promise<readonly VmInfo[]>;
  /** One VM, or undefined when there is none of that name. */
  getVm(name: string, options?: CallOptions): Promise<VmInfo | undefined>;
  /**
   * Defines a VM and creates it paused, its console being recorded from the first byte on.
   * @throws `conflict` when the name is taken, `hypervisor-failed` when the host refuses,
   * `unsupported` for an architecture or accelerator it lacks, `dependency-missing` when installing
   * an emulator would help, `invalid-input`. A call that fails, or is aborted, leaves no VM.
   */
  createVm(spec: VmSpec, options?: CallOptions): Promise<VmInfo>;
  /**
   * Lets a paused VM run; one that runs already is left alone.
   * @throws `not-found`, `hypervisor-failed` when it has ended.
   */
  startVm(name: string, options?: CallOptions): Promise<void>;
  /**
   * Presses the reset button of a running VM: the guest boots anew in the same VM, without a proper end.
   * An open console goes on; events tell `rebooted`. Other resets still stop the VM: the firmware is
   * given `limits.vmResetSettleMs` for its own part, and then the call resolves.
   * @throws `not-found`, `hypervisor-failed` when it does not run, `unsupported`.
   */
  resetVm(name: string, options?: CallOptions): Promise<void>;
  /**
   * Sends a running VM a non-maskable interrupt, on which a kernel can be made to panic and dump.
   * @throws `not-found`, `hypervisor-failed` when it does not run, `unsupported` when its machine has none.
   */
  injectNmi(name: string, options?: CallOptions): Promise<void>;
  /**
   * What a running VM's display shows now.
   * @throws `not-found`, `hypervisor-failed` when it does not run, `unsupported` when it was created
   * without a `display`.
   */
  screenshot(name: string, options?: CallOptions): Promise<Screenshot>;
  /**
   * Ends a VM and removes all the connector made for it. No VM of that name is fine too.
   * @throws `hypervisor-failed`; with the reason `stuck` in its details when the hypervisor can't let go of that name
   * before a person has done something: then nothing runs under it, and other names are free.
   */
  destroyVm(name: string, options?: CallOptions): Promise<void>;
  /**
   * The console of a VM, from any byte it ever said on. Only one at a time may write.
   * @throws `not-found`; `console-busy` when another holds it; `console-history-lost` when the host
   * no longer has bytes from `offset` on, or never had them.
   */
  openConsole(name: string, options?: OpenConsoleOptions): Promise<Console>;
  /** Changes from now on; leaving the loop unsubscribes. */
  events(options?: CallOptions): AsyncIterable<VmEvent>;
  /** Settles when the connection has ended, with the reason when it was not disposed by us. Never rejects. */
  readonly closed: Promise<Error | undefined>;
}

/** Where a hypervisor connector connects to. */
export interface HypervisorTarget {
  readonly host: ShellTarget;
  /** A folder on the host that the connector may fill, one subfolder a VM. Absolute. */
  readonly workspace: string;
}

/** Reaches the hypervisor of a host. */
export interface HypervisorConnector extends AsyncDisposable {
  /** Name by which hosts refer to it, such as `libvirt` or `local`. */
  readonly name: string;
  /**
   * @param shell - a session with the host, for connectors that tunnel through it or need its
   * files. The caller owns it and keeps it open for the life of the hypervisor.
   * @throws `connection-failed`, `authentication-failed`, `dependency-missing`, `deadline-exceeded`, `aborted`.
   */
  connect(target: HypervisorTarget, shell: ShellSession, options?: CallOptions): Promise<Hypervisor>;
}
