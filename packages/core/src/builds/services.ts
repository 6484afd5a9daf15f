import type { NewArtifact } from '../artifacts/records.ts';
import type { ArtifactRepository } from '../artifacts/repository.ts';
import type { Random } from '../contracts/runtime.ts';
import type { StoredError } from '../errors.ts';
import type { TransferReport } from '../events.ts';
import type { BuildServer } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';
import type { Selection } from '../selection/select.ts';
import type { LogStore } from '../work/logs.ts';

/** What builds work with. */
export interface BuildServices {
  readonly connectors: Connectors;
  readonly selection: Selection;
  readonly artifacts: ArtifactRepository;
  readonly logs: LogStore;
  readonly random: Random;
  readonly buildServer: (id: string) => Promise<BuildServer>;
  /** Ids of the builds that have a place on a server. */
  readonly activeBuilds: (serverId: string) => Promise<readonly string[]>;
  /** Hears of bytes on the move. */
  readonly onTransfer: (report: TransferReport) => void;
}

/** A server that a build has a place on. */
export interface HeldServer {
  readonly serverId: string;
  readonly reservationId: string;
  /** When the place was taken, milliseconds since the Unix epoch. */
  readonly since: number;
  /** Where the output of this attempt begins in the build's log. */
  readonly logStart: number;
}

/** How far a build has come. */
export interface BuildCheckpoint {
  /** Absent while it waits for a server. */
  readonly held?: HeldServer;
  /** Servers that failed it, oldest first, and why the last one did. */
  readonly tried: readonly string[];
  readonly trouble?: StoredError;
  /** Why it goes away from the server it has; what it did there is not gone on with. */
  readonly leaving?: StoredError;
  /** The server was full and was cleaned up; it gets no second chance. */
  readonly cleaned?: boolean;
  /** Outputs that are in the storage, as far as they have been fetched. */
  readonly fetched: readonly NewArtifact[];
  /** Set once all of them are. */
  readonly collected?: boolean;
  readonly commitHash?: string;
}

/** Id of a build's log. */
export function buildLogId(buildId: string): string {
  return `build/${buildId}`;
}

/** Where a server has the folders of its builds. */
export function buildsFolder({ workspace }: BuildServer): string {
  return `${workspace}/builds`;
}

/** The folder of a build on its server. */
export function jobFolder(server: BuildServer, buildId: string): string {
  return `${buildsFolder(server)}/${buildId}`;
}

/**
 * The file that says on a server that a build is over there. A process that stood still, and does not know yet that
 * another one has done its work, would begin the build again once its folder is gone.
 */
export function overMark({ workspace }: BuildServer, buildId: string): string {
  return `${workspace}/.over/${buildId}`;
}
