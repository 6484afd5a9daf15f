import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import type { TransferReport } from '../events.ts';
import type { BootConfig, BootReport } from '../model/deployment.ts';
import type { Board, Host } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Selection } from '../selection/select.ts';
import type { Store } from '../store/store.ts';

/** What deployments work with. */
export interface DeploymentServices {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly connectors: Connectors;
  readonly selection: Selection;
  readonly artifacts: ArtifactRepository;
  /** Of this lab: its VMs carry it. */
  readonly labId: string;
  readonly host: (id: string) => Promise<Host>;
  readonly board: (id: string) => Promise<Board>;
  readonly onTransfer: (report: TransferReport) => void;
}

/** A boot as it is queued. */
export interface BootInput {
  readonly deploymentId: string;
  readonly boot?: BootConfig;
}

/** What a finished boot gives. */
export interface BootOutput {
  readonly report: BootReport;
}
