import type { Architecture } from './architecture.ts';
import type { BuildRecipe } from './build.ts';

/** What any request for a resource may ask for. */
export interface RequirementsBase {
  /** Labels the resource must have, with these values. */
  readonly requiredLabels?: Readonly<Record<string, string>>;
  /** Only resources of this group. */
  readonly groupId?: string;
  /** The team it is for; policies may reserve resources for teams. */
  readonly team?: string;
  /** Who asks for it; policies may want it approved. */
  readonly requester?: string;
}

/** What a build needs of a server. */
export interface BuildRequirements extends RequirementsBase {
  readonly targetArchitecture: Architecture;
  /** What is built: servers on which it was quick before are better. */
  readonly sourceRepository?: string;
  /** `gcc` or `clang`. Default: any. */
  readonly requiredToolchain?: string;
  /** How it is built; servers may allow only some recipes. Default: none is asked about. */
  readonly recipe?: BuildRecipe;
  /** Default 1. */
  readonly minCpuCores?: number;
  /** Default 2048. */
  readonly minMemoryMb?: number;
  /** Free space. Default 10. */
  readonly minStorageGb?: number;
  /** Take this server if it fits, else another. */
  readonly preferredServerId?: string;
  /** Take this server or none. */
  readonly serverId?: string;
}

/** What a VM needs of a host. */
export interface VmRequirements extends RequirementsBase {
  readonly architecture: Architecture;
  /** CPUs of the VM. Default 1. */
  readonly minCpuCores?: number;
  /** Memory of the VM. Default 256. */
  readonly minMemoryMb?: number;
  /** Disk space of the VM. Default 0. */
  readonly minStorageGb?: number;
  readonly requireKvm?: boolean;
  readonly requireNestedVirt?: boolean;
  readonly preferredHostId?: string;
  readonly hostId?: string;
}

/** What a job needs of a board. */
export interface BoardRequirements extends RequirementsBase {
  readonly architecture: Architecture;
  /** Any of these. Default: any type. */
  readonly boardTypes?: readonly string[];
  /** All of these. */
  readonly requiredPeripherals?: readonly string[];
  /** The firmware it must run, or be flashed with: boards without either are passed over. */
  readonly firmwareVersion?: string;
  readonly preferredBoardId?: string;
  readonly boardId?: string;
}

/** A requirement that was not met, by whom, and what would help. */
export interface UnmetRequirement {
  /** Name of the requirement, such as `architecture`, `label:rack` or `memoryMb`. */
  readonly requirement: string;
  /** What was asked for. */
  readonly wanted: string | number | boolean;
  /** The best there is. */
  readonly best?: string | number | boolean;
  /** Waiting does not help: the request has to change. */
  readonly final?: boolean;
  readonly message: string;
}

/** Why one resource was not chosen. */
export interface Rejection {
  readonly resourceId: string;
  readonly name: string;
  readonly reasons: readonly UnmetRequirement[];
  /** Whether it fits once it is free or back: nothing about it has to change. */
  readonly temporary: boolean;
}

/** Why one resource was chosen: its score is the weighted sum of the parts, each 0…100. */
export interface ScoredCandidate {
  readonly resourceId: string;
  readonly name: string;
  readonly score: number;
  readonly parts: Readonly<Record<string, number>>;
}
