import type { StoredError } from '../errors.ts';
import type { Architecture } from './architecture.ts';
import type { Artifact, ArtifactSelection, ArtifactType } from './artifact.ts';
import type { RequirementsBase } from './requirements.ts';

/** What the VM is like and how it boots. */
export interface VmConfig {
  /** Default 1. */
  readonly cpus?: number;
  /** Default 256. */
  readonly memoryMb?: number;
  /** Kernel command line. Default: `console=` for the architecture's serial port and `panic=-1`. */
  readonly commandLine?: string;
  readonly machine?: string;
  readonly cpuModel?: string;
  readonly accelerator?: 'auto' | 'kvm' | 'tcg';
  /** Filename of the device tree to boot with, among the artifacts. Default: the machine's own. */
  readonly deviceTree?: string;
  /** Whether it has a display adapter, of which screenshots can be taken. Default false. */
  readonly display?: boolean;
}

/** Text that must occur in a line, or a regular expression that must match one. */
export type BootPattern = string | { readonly regex: string; readonly flags?: string };

/** How a boot is judged. Patterns are matched line by line, and against the unfinished last line. */
export interface BootConfig {
  /**
   * Any of these means: booted. A string must occur in a line. Default: the usual signs of a
   * userspace, a login prompt and a KTAP or TAP header among them.
   */
  readonly successPatterns?: readonly BootPattern[];
  /** Ids of failure signatures that don't count here. */
  readonly ignoreSignatures?: readonly string[];
  /** From start to success. Default 180 s. */
  readonly timeoutMs?: number;
  /** Without a single byte. Default 60 s. */
  readonly silenceMs?: number;
}

/** What deployments to VMs and to boards have in common. */
export interface DeploymentRequestBase extends RequirementsBase {
  /** Which build's artifacts. */
  readonly artifacts: ArtifactSelection;
  /** More files, by artifact id: an initrd or rootfs that the build does not make. They win. */
  readonly extraArtifactIds?: readonly string[];
  readonly architecture?: Architecture;
  readonly boot?: BootConfig;
  /** How long the environment is kept after the boot unless released or extended. Default 1 h. */
  readonly keepMs?: number;
  readonly timeoutMs?: number;
  readonly priority?: number;
}

/** Deploy to a VM. */
export interface QemuDeploymentRequest extends DeploymentRequestBase {
  readonly vm?: VmConfig;
  /** On this host or not at all. Default: selected. */
  readonly hostId?: string;
}

/** Which file goes where in a board's flash. */
export interface FlashSlot {
  /** Partition, slot or device as the flash station names it. */
  readonly slot: string;
  /** The first artifact of this type. Either this or `filename`. */
  readonly artifactType?: ArtifactType;
  /** The artifact of this name, or whose path ends with it. */
  readonly filename?: string;
}

/** Deploy to a board. */
export interface BoardDeploymentRequest extends DeploymentRequestBase {
  /** On this board or not at all. Default: selected. */
  readonly boardId?: string;
  /** Any of these. Default: any type. */
  readonly boardTypes?: readonly string[];
  /** All of these. */
  readonly requiredPeripherals?: readonly string[];
  /**
   * What is flashed where. Default: what there is of kernel image → `kernel`, initrd → `initrd`,
   * rootfs → `rootfs`, and the device tree → `dtb` if there is exactly one.
   */
  readonly slots?: readonly FlashSlot[];
  /** How the board calls this firmware from then on. Default: the commit, or the build's id. */
  readonly firmwareVersion?: string;
}

/** What a deployment's target is. */
export const deploymentTargetTypes = ['qemu_host', 'physical_board'] as const;

/** What a deployment's target is. */
export type DeploymentTargetType = (typeof deploymentTargetTypes)[number];

/** State of a deployment. `rolled_back`: a known-good one has taken its place. */
export type DeploymentStatus =
  | 'pending'
  | 'transferring'
  | 'flashing'
  | 'booting'
  | 'verifying'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'rolled_back';

/** One thing a verification looked at. */
export interface VerificationCheck {
  readonly name: 'environment' | 'vm' | 'firmware' | 'boot-id';
  /** `unknown`: it can't be told for this target. */
  readonly outcome: 'passed' | 'failed' | 'unknown';
  readonly message: string;
}

/** Whether what runs is what was deployed. */
export interface VerificationReport {
  /** No check failed, and at least one passed. */
  readonly verified: boolean;
  readonly checks: readonly VerificationCheck[];
  /** Why it could not be told, after all tries. */
  readonly reason?: string;
  readonly attempts: number;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
  /** The kernel's id of the boot that was seen. */
  readonly bootId?: string;
}

/** How a boot went. */
export interface BootReport {
  readonly outcome: 'booted' | 'failed' | 'timeout' | 'silent' | 'ended';
  /** The pattern that matched, or the signature that was found. */
  readonly matched?: string;
  /** The line it was found in, or the lines of the failure report. */
  readonly excerpt: readonly string[];
  /** From the machine's start to the outcome. */
  readonly durationMs: number;
  /** Bytes the console had said by then. */
  readonly consoleBytes: number;
  /** Warnings the kernel printed on the way. */
  readonly warnings: readonly string[];
}

/** A deployment. Times are milliseconds since the Unix epoch. */
export interface Deployment {
  readonly id: string;
  /** Where it runs, together with those that were deployed there before and after it. */
  readonly environmentId: string;
  readonly targetType: DeploymentTargetType;
  readonly targetId?: string;
  readonly artifacts: readonly Artifact[];
  readonly buildId?: string;
  readonly commitHash?: string;
  readonly status: DeploymentStatus;
  readonly vmName?: string;
  /** The newest boot; its log is the console's. */
  readonly bootId?: string;
  readonly bootVerified: boolean;
  readonly boot?: BootReport;
  /** The last time it was verified that it is what runs. */
  readonly verification?: VerificationReport;
  /** The deployment that put a known-good one in its place. */
  readonly rolledBackBy?: string;
  readonly startedAt?: number;
  readonly completedAt?: number;
  /** When its environment was given back. */
  readonly releasedAt?: number;
  readonly errorMessage?: string;
  readonly error?: StoredError;
  readonly createdAt: number;
}
