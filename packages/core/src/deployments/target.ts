import type { Console } from '../contracts/console.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { StoredError } from '../errors.ts';
import type { Architecture } from '../model/architecture.ts';
import type { Artifact } from '../model/artifact.ts';
import type { DeploymentTargetType, VerificationCheck } from '../model/deployment.ts';
import type { CapacityRequest } from '../pool/reservations.ts';
import type { WorkContext } from '../work/handler.ts';
import type { LogWriter } from '../work/logs.ts';
import type { DeploymentInput, PlacedDeployment } from './records.ts';

/** What will be deployed, and what it needs. */
export interface DeploymentPlan {
  readonly architecture: Architecture;
  /** The files that are used, of those that were chosen. */
  readonly artifacts: readonly Artifact[];
  readonly request: CapacityRequest;
  readonly buildId: string;
  readonly commitHash: string | undefined;
}

/** The host or board that a deployment has. */
export interface HeldTarget {
  readonly targetId: string;
  readonly reservationId: string;
}

/** How far a deployment has come. */
export interface DeploymentCheckpoint {
  /** Absent while it waits. */
  readonly held?: HeldTarget;
  /** Set once the artifacts are there. */
  readonly provisioned?: boolean;
  /** Targets that failed it, oldest first, and why the last one did. */
  readonly tried: readonly string[];
  readonly trouble?: StoredError;
}

/** How far a boot has come. */
export interface BootCheckpoint {
  /** When the machine was let run, milliseconds since the Unix epoch. */
  readonly startedAt: number;
  /** Where what it says since then begins in the boot's log. */
  readonly logStart: number;
  /** The kernel's boot id before. */
  readonly bootIdBefore?: string;
  /** Power cycles that led to nothing. */
  readonly failures?: number;
}

/** A machine that was let run. */
export interface StartedBoot extends BootCheckpoint {
  /** Its console, where that had to be open before. */
  readonly console?: Console;
}

/** A console to go on with. */
export interface HeardConsole {
  readonly console: Console;
  /** The machine boots anew, and the console begins with its first byte. */
  readonly anew: boolean;
}

/** How a console is heard on. */
export interface HearOptions extends CallOptions {
  /** Bytes of this boot that were heard. */
  readonly heard: number;
  /** Since that boot nobody has heard it, nor begun to boot it anew. */
  readonly first: boolean;
  /** Asked right before the machine is booted anew; false: it must not be. */
  readonly restarting: () => Promise<boolean>;
}

/** Where something was provisioned: enough to take it back, whatever became of the records. */
export interface ProvisionedPlace {
  readonly deploymentId: string;
  readonly targetType: DeploymentTargetType;
  readonly targetId: string;
  readonly reservationId: string;
  /** Name of the VM that may have been made there. */
  readonly vm?: string;
}

/**
 * A kind of machine that artifacts are deployed to: a VM on a host, or a board. All that differs
 * between them; the order of things, retries and records are the handlers'.
 */
export interface DeploymentTarget {
  readonly type: DeploymentTargetType;
  /** Whether its console can be read from a byte of a boot on. Without that, whoever did not listen has missed what it said. */
  readonly hasConsoleHistory: boolean;
  /**
   * What of the chosen files is deployed, and what is needed for it.
   * @throws `artifact-not-found`, `architecture-mismatch`.
   */
  plan(
    input: DeploymentInput,
    chosen: { readonly buildId: string; readonly commitHash: string | undefined },
    built: readonly Artifact[],
    extra: readonly Artifact[],
  ): DeploymentPlan;
  /** Brings the artifacts there; the machine is ready to be booted then. May be run again. */
  provision(
    context: WorkContext<DeploymentCheckpoint>,
    input: DeploymentInput,
    plan: DeploymentPlan,
    held: HeldTarget,
  ): Promise<void>;
  /** Takes back what {@link DeploymentTarget.provision} made. May be run again. */
  dismantle(context: WorkContext<unknown>, place: ProvisionedPlace): Promise<void>;
  /** Puts a machine whose boot was given up back in order, where that is more than letting go of it. */
  abandonBoot?(context: WorkContext<unknown>, deployment: PlacedDeployment, signal: AbortSignal): Promise<void>;
  /** Whether a boot is judged by what its console says, or by its shell, which answers anew. */
  judgedBy(deployment: PlacedDeployment): Promise<'console' | 'shell'>;
  /**
   * Lets the machine boot from the beginning; or, in a boot that is taken over, goes on with the one
   * under way where its console has a history. `remember` is called when it is about to run.
   */
  startBoot(
    context: WorkContext<BootCheckpoint>,
    deployment: PlacedDeployment,
    log: LogWriter,
    remember: (started: BootCheckpoint) => Promise<void>,
  ): Promise<StartedBoot>;
  /**
   * Its console, from byte `heard` of this boot on where it has a history, else from now on.
   * @throws those of the connector; `process-lost` when the machine is gone.
   */
  openConsole(deployment: PlacedDeployment, heard: number, options: CallOptions): Promise<Console>;
  /**
   * Its console behind the bytes of this boot that were heard, so that nothing is missed of what it says by itself. Where there
   * is no history, and nobody has listened all the time, it is booted anew for that.
   * @throws as {@link DeploymentTarget.openConsole}, and those of {@link DeploymentTarget.startBoot}.
   */
  hear(context: WorkContext<unknown>, deployment: PlacedDeployment, options: HearOptions): Promise<HeardConsole>;
  /** The kernel's id of the boot that its shell sees; undefined where it has none. */
  bootId(deployment: PlacedDeployment, options: CallOptions): Promise<string | undefined>;
  /** Looks whether what runs is this deployment. `bootId`: of the boot that was verified. */
  verify(
    deployment: PlacedDeployment,
    bootId: string | undefined,
    options: CallOptions,
  ): Promise<{ readonly checks: readonly VerificationCheck[]; readonly bootId?: string }>;
}
