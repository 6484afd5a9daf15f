import type {
  BoardDeploymentRequest,
  DeploymentStatus,
  DeploymentTargetType,
  QemuDeploymentRequest,
} from './deployment.ts';

/** Who an environment is for. */
export interface EnvironmentOwner {
  /** A person or a job. */
  readonly owner?: string;
  readonly team?: string;
}

/** Ask for an environment: a VM or a board with artifacts that have booted. */
export type EnvironmentRequest = EnvironmentOwner &
  (
    | ({ readonly targetType: 'qemu_host' } & Omit<QemuDeploymentRequest, 'team' | 'requester'>)
    | ({ readonly targetType: 'physical_board' } & Omit<BoardDeploymentRequest, 'team' | 'requester'>)
  );

/**
 * `provisioning`: a deployment is under way. `ready`: what was deployed has booted. `failed`: it has
 * not, and the environment is kept for a while so that it can be looked at and rolled back.
 */
export type EnvironmentStatus = 'provisioning' | 'ready' | 'failed' | 'released';

/** How to get at an environment. Coordinates, no secrets. */
export interface EnvironmentAccess {
  /** The board, or the host that the VM runs on. */
  readonly ssh?: {
    readonly hostname: string;
    readonly ipAddress?: string;
    readonly port: number;
    readonly username?: string;
  };
  /** A board's serial console. */
  readonly console?: { readonly name: string; readonly device: string; readonly baudRate: number };
  /** A VM's name on its host; its console is opened with `deployments.openConsole`. */
  readonly vmName?: string;
}

/** A host's share or a board, held for somebody, and what runs there. Times are milliseconds since the Unix epoch. */
export interface Environment extends EnvironmentOwner {
  readonly id: string;
  readonly targetType: DeploymentTargetType;
  readonly status: EnvironmentStatus;
  /** The host or board; absent while one is waited for. */
  readonly target?: { readonly id: string; readonly name: string; readonly status: string };
  /** What runs there, or is being put there. */
  readonly deploymentId: string;
  readonly deploymentStatus: DeploymentStatus;
  readonly buildId?: string;
  readonly commitHash?: string;
  readonly deployedAt?: number;
  readonly access: EnvironmentAccess;
  /** When it is given back unless it is extended; absent while work goes on in it. */
  readonly expiresAt?: number;
  readonly releasedAt?: number;
  readonly createdAt: number;
}

/** An environment and whether it can be reached right now. */
export interface InspectedEnvironment extends Environment {
  /**
   * `connected`: the VM runs, or the board's shell answers. `stopped`: the VM has ended. `unreachable`:
   * it does not answer. `unknown`: there is nothing to ask, as with a board that has only a console.
   */
  readonly connection: 'connected' | 'stopped' | 'unreachable' | 'unknown';
  /** Why it is not `connected`. */
  readonly connectionError?: string;
}
