import type { Architecture } from './architecture.ts';
import type { BuildRecipe } from './build.ts';
import type { FirmwareRecord } from './flash.ts';
import type { PowerControlConfig, PowerSequence } from './power.ts';
import type { Secret } from './secret.ts';
import type { BoardHealth, MachineHealth, ResourceUtilization } from './health.ts';

/** The three kinds of resource: they compile, run VMs, or are hardware. */
export const resourceKinds = ['build_server', 'host', 'board'] as const;

/** A kind of resource. */
export type ResourceKind = (typeof resourceKinds)[number];

/** What is known of a server's or host's health; `maintenance` covers whatever is known otherwise. */
export type ServerStatus = 'online' | 'offline' | 'degraded' | 'maintenance' | 'unknown';

/** What is known of a board. */
export type BoardStatus = 'available' | 'in_use' | 'flashing' | 'offline' | 'maintenance' | 'recovery' | 'unknown';

/** How a resource is reached. */
export interface Connection {
  /** Name of the shell connector, such as `ssh` or `local`. Default: the first one the lab was given. */
  readonly shell?: string;
  readonly hostname: string;
  /** Address to connect to. Default: `hostname`. */
  readonly ipAddress?: string;
  /** Default 22. */
  readonly sshPort?: number;
  /** Account on the target. Default: the account this process runs under. */
  readonly sshUsername?: string;
  /** Path of a private key on this machine. */
  readonly sshKeyPath?: string;
}

/** A compiler found on a build server. */
export interface Toolchain {
  /** `gcc` or `clang`. */
  readonly name: string;
  readonly version: string;
  readonly targetArchitecture: Architecture;
  /** What it says it compiles for, such as `arm-linux-gnueabihf`. */
  readonly triplet: string;
  /** Absolute path of the compiler. */
  readonly path: string;
  readonly available: boolean;
}

/** A toolchain that a build server is said to have. */
export interface ToolchainClaim {
  /** `gcc` or `clang`. */
  readonly name: string;
  readonly targetArchitecture: Architecture;
  /** Version, or the first parts of it: `12` is met by 12.2.0. Default: any. */
  readonly version?: string;
}

/** What a resource must at least have to be registered. */
export interface MinimumResources {
  readonly minCpuCores?: number;
  readonly minMemoryMb?: number;
  /** Free space of the workspace's file system. */
  readonly minStorageGb?: number;
}

/** A network interface of a machine, as it was when it was last looked at. */
export interface NetworkInterface {
  readonly name: string;
  readonly state: 'up' | 'down' | 'unknown';
  readonly macAddress?: string;
  /** Megabits per second, where the driver tells. */
  readonly speedMbps?: number;
  /** With their prefix lengths, such as `10.0.0.2/24`. */
  readonly addresses: readonly string[];
}

/** What every resource has. Times are milliseconds since the Unix epoch. */
export interface ResourceBase {
  readonly id: string;
  /** The group that decides over it: of those it belongs to, the one of the highest priority. */
  readonly groupId?: string;
  /** Why it has its status, for a person. */
  readonly statusReason?: string;
  /** Why nothing new is allocated there although it is online, such as `disk` or `utilization`. */
  readonly blockedBy: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly maintenanceMode: boolean;
  /** Share of the most used capacity that is reserved, 0…1. */
  readonly currentUtilization: number;
  /** Since when it has the status it has, maintenance aside. */
  readonly statusSince: number;
  /** What it is busy with, as last measured; of a resource that is offline, as it last was. */
  readonly utilization?: ResourceUtilization;
  /** When it last answered: the time of `utilization` and of its health. */
  readonly lastHealthCheck?: number;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** A machine that compiles. */
export interface BuildServer extends ResourceBase, Connection {
  readonly status: ServerStatus;
  /** How it is doing, as last measured. */
  readonly health?: MachineHealth;
  readonly supportedArchitectures: readonly Architecture[];
  readonly toolchains: readonly Toolchain[];
  readonly totalCpuCores: number;
  readonly totalMemoryMb: number;
  /** Free space of the workspace's file system when it was last looked at. */
  readonly totalStorageGb: number;
  readonly kernelVersion: string;
  readonly activeBuildCount: number;
  readonly maxConcurrentBuilds: number;
  /** Builds that wait for a server and may run on this one. */
  readonly queueDepth: number;
  /** Recipes it may be asked for. Default: all. */
  readonly allowedRecipes?: readonly BuildRecipe[];
  /** Folder on the server that builds happen in. */
  readonly workspace: string;
}

/** A machine that runs VMs. */
export interface Host extends ResourceBase, Connection {
  readonly status: ServerStatus;
  /** How it is doing, as last measured. */
  readonly health?: MachineHealth;
  /** Name of the hypervisor connector, such as `libvirt` or `local`. */
  readonly hypervisor: string;
  /** Architecture of the host itself. */
  readonly architecture: Architecture;
  /** Architectures its VMs can have. */
  readonly vmArchitectures: readonly Architecture[];
  readonly totalCpuCores: number;
  readonly totalMemoryMb: number;
  readonly totalStorageGb: number;
  /** Whether a guest was seen to run under KVM. */
  readonly kvmEnabled: boolean;
  readonly nestedVirtEnabled: boolean;
  readonly kernelVersion: string;
  readonly networkInterfaces: readonly NetworkInterface[];
  readonly runningVmCount: number;
  readonly maxVms: number;
  /** Folder on the host that deployed files and VM state lie in. */
  readonly workspace: string;
}

/** How a board is reached and handled, beside its shell. */
export interface BoardAttachments {
  /** Serial console, as the console connector names it: `/dev/ttyUSB0`, `rfc2217://exporter:4001`. */
  readonly serialDevice?: string;
  /** Bits per second. Default 115200. */
  readonly serialBaudRate?: number;
  /** Name of the console connector. Default: the first one the lab was given. */
  readonly console?: string;
  readonly powerControl?: PowerControlConfig;
  /** How its power is cycled. */
  readonly powerSequence?: PowerSequence;
  /** The flash station, as the flash connector names it. */
  readonly flashStationId?: string;
  /** Name of the flash connector. Default: the first one the lab was given. */
  readonly flash?: string;
}

/** Real hardware. A board without a `hostname` is reached by its serial console alone. */
export interface Board extends ResourceBase, Partial<Connection>, BoardAttachments {
  readonly name: string;
  readonly status: BoardStatus;
  readonly health: BoardHealth;
  readonly boardType: string;
  readonly serialNumber?: string;
  readonly architecture: Architecture;
  readonly peripherals: readonly string[];
  readonly powerControl: PowerControlConfig;
  /** Where a shell could be asked. */
  readonly kernelVersion?: string;
  readonly currentFirmwareVersion?: string;
  readonly lastFlashTimestamp?: number;
  /** What it was flashed with last: build, commit, deployment. */
  readonly firmware?: FirmwareRecord;
  /** The test run or other work that holds it. */
  readonly assignedTestId?: string;
}

/** A resource of any kind. */
export type Resource =
  | ({ readonly kind: 'build_server' } & BuildServer)
  | ({ readonly kind: 'host' } & Host)
  | ({ readonly kind: 'board' } & Board);

/** Register a build server. */
export interface BuildServerRegistration extends Connection, MinimumResources {
  /** Toolchains that must be there; registration fails if one is missing. */
  readonly toolchains?: readonly ToolchainClaim[];
  /** Architectures that must have a toolchain there. Default: all that are found. */
  readonly supportedArchitectures?: readonly Architecture[];
  /** Recipes it may be asked for. Default: all. */
  readonly allowedRecipes?: readonly BuildRecipe[];
  /** Builds at the same time. Default 4. */
  readonly maxConcurrentBuilds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** Absolute folder on the server. Default: `.bringup` in the account's home. */
  readonly workspace?: string;
}

/** Register a QEMU host. */
export interface HostRegistration extends Connection, MinimumResources {
  /** Name of the hypervisor connector. Default: the first one the lab was given. */
  readonly hypervisor?: string;
  /** VMs at the same time. Default 10. */
  readonly maxVms?: number;
  readonly labels?: Readonly<Record<string, string>>;
  /** Absolute folder on the host. Default: `.bringup` in the account's home. */
  readonly workspace?: string;
}

/** Register a board: reached by its shell (`hostname`), its serial console (`serialDevice`), or both. */
export interface BoardRegistration extends Partial<Connection>, BoardAttachments {
  readonly name: string;
  readonly boardType: string;
  readonly serialNumber?: string;
  /**
   * What it claims to be; registration fails if the board says otherwise. Default: detected, for which a
   * shell must answer.
   */
  readonly architecture?: Architecture;
  /** Beside those that are detected. */
  readonly peripherals?: readonly string[];
  /** How to log in on the serial console, for the look at the board; the password is not kept. */
  readonly consoleLogin?: { readonly user?: string; readonly password?: Secret };
  readonly labels?: Readonly<Record<string, string>>;
}

/** Changes of a registration: what is named is replaced, `null` takes it away, the rest stays. */
export type Changes<Registration> = { readonly [K in keyof Registration]?: Registration[K] | null };

/** What a build server has to give right now. */
export interface BuildServerCapacity {
  /** Cores that are idle, as last measured; all of them when nothing was measured yet. */
  readonly availableCpuCores: number;
  readonly availableMemoryMb: number;
  readonly availableStorageGb: number;
  readonly canAcceptBuild: boolean;
  /** Until a new build could start; from how long builds took there before. */
  readonly estimatedQueueTimeSeconds: number;
}

/** What a host has to give right now: what is not reserved. */
export interface HostCapacity {
  readonly availableCpuCores: number;
  readonly availableMemoryMb: number;
  readonly availableStorageGb: number;
  readonly canAllocateVm: boolean;
  /** CPUs the largest VM could have; 0 when none can be allocated. */
  readonly maxVmCpu: number;
  readonly maxVmMemoryMb: number;
}
