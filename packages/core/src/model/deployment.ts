import type { StoredError } from '../errors.ts';
import type { Architecture } from './architecture.ts';
import type { Artifact, ArtifactSelection } from './artifact.ts';

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

/** Deploy to a VM. */
export interface QemuDeploymentRequest {
  /** Which build's artifacts. */
  readonly artifacts: ArtifactSelection;
  /** More files, by artifact id: an initrd or rootfs that the build does not make. They win. */
  readonly extraArtifactIds?: readonly string[];
  readonly architecture?: Architecture;
  readonly vm?: VmConfig;
  readonly boot?: BootConfig;
  /** On this host or not at all. Default: selected. */
  readonly hostId?: string;
  readonly requiredLabels?: Readonly<Record<string, string>>;
  /** How long the environment is kept after the boot unless released. Default 1 h. */
  readonly keepMs?: number;
  readonly timeoutMs?: number;
  readonly priority?: number;
}

/** State of a deployment. */
export type DeploymentStatus =
  'pending' | 'transferring' | 'booting' | 'verifying' | 'completed' | 'failed' | 'cancelled';

/** How a boot went. */
export interface BootReport {
  readonly outcome: 'booted' | 'failed' | 'timeout' | 'silent' | 'ended';
  /** The pattern that matched, or the signature that was found. */
  readonly matched?: string;
  /** The line it was found in, or the lines of the failure report. */
  readonly excerpt: readonly string[];
  /** From the VM's start to the outcome. */
  readonly durationMs: number;
  /** Bytes the console had said by then. */
  readonly consoleBytes: number;
  /** Warnings the kernel printed on the way. */
  readonly warnings: readonly string[];
}

/** A deployment. Times are milliseconds since the Unix epoch. */
export interface Deployment {
  readonly id: string;
  readonly targetType: 'qemu_host' | 'physical_board';
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
  readonly startedAt?: number;
  readonly completedAt?: number;
  /** When its VM and reservation were given back. */
  readonly releasedAt?: number;
  readonly errorMessage?: string;
  readonly error?: StoredError;
  readonly createdAt: number;
}
