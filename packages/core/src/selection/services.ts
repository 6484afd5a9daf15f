import type {
  BoardRequirements,
  BuildRequirements,
  Rejection,
  ScoredCandidate,
  VmRequirements,
} from '../model/requirements.ts';
import type { Board, BuildServer, Host } from '../model/resource.ts';
import { validate } from '../model/validate.ts';
import type { CapacityRequest } from '../pool/reservations.ts';
import type { BuildTimeEstimate, BuildTimeKey } from './build-times.ts';
import type { OfferServices } from './offers.ts';
import type { SelectionOutcome } from './outcome.ts';
import { boardRequest, buildRequest, vmRequest } from './requests.ts';
import { reserveOptionsSchema, type ReserveOptions, type SelectOptions } from './options.ts';
import {
  ResourceSelection,
  type Offer,
  type Selected,
  type SelectionResult,
  type Views,
} from './resource-selection.ts';
import {
  boardRequirementsSchema,
  buildRequirementsSchema,
  capacityRequestSchema,
  estimatedBuildSchema,
  vmRequirementsSchema,
} from './schema.ts';
import { runningFirmware } from './facts.ts';

/** What came of choosing a build server. */
export interface BuildServerSelectionResult extends SelectionResult {
  readonly server?: BuildServer;
}

/** What came of choosing a host. */
export interface HostSelectionResult extends SelectionResult {
  readonly host?: Host;
}

/** What came of choosing a board. */
export interface BoardSelectionResult extends SelectionResult {
  readonly board?: Board;
  /** Whether it must be flashed first to run the firmware that was asked for. */
  readonly requiresFlashing: boolean;
}

/** Which build server a build should have. Every method @throws `invalid-input` with one issue per field. */
export interface BuildServerSelectionStrategy {
  /** The best that fits: preferred, idle, quick. With a `holder` it is reserved, else only looked at. */
  selectServer(requirements: BuildRequirements, options?: SelectOptions): Promise<BuildServerSelectionResult>;
  /** All that fit, with what they have free; those that can be had now first. */
  getCompatibleServers(requirements: BuildRequirements): Promise<readonly Offer<BuildServer>[]>;
  /** How good a server would be now, by parts; or what is in the way. */
  calculateServerScore(serverId: string, requirements: BuildRequirements): Promise<ScoredCandidate | Rejection>;
  /** How long a build is expected to take, on a server or on any; undefined when nothing was learned yet. */
  estimateBuildTime(
    build: Pick<BuildTimeKey, 'repository' | 'architecture'> & { readonly serverId?: string },
  ): Promise<BuildTimeEstimate | undefined>;
  /** Reserves this server if it fits and has room now. */
  reserveCapacity(
    serverId: string,
    requirements: BuildRequirements,
    options: ReserveOptions,
  ): Promise<BuildServerSelectionResult>;
  /** Gives a reservation back. Harmless when it has ended. */
  releaseCapacity(reservationId: string): Promise<void>;
}

/** Which host a VM should have. Every method @throws `invalid-input` with one issue per field. */
export interface HostSelectionStrategy {
  /** The best that fits: preferred, idle. With a `holder` it is reserved, else only looked at. */
  selectHost(requirements: VmRequirements, options?: SelectOptions): Promise<HostSelectionResult>;
  /** All that fit, with what they have free; those that can be had now first. */
  getCompatibleHosts(requirements: VmRequirements): Promise<readonly Offer<Host>[]>;
  /** How good a host would be now, by parts; or what is in the way. */
  calculateHostScore(hostId: string, requirements: VmRequirements): Promise<ScoredCandidate | Rejection>;
  /** Reserves room on this host if it fits and has room now. */
  reserveResources(hostId: string, requirements: VmRequirements, options: ReserveOptions): Promise<HostSelectionResult>;
  /** Gives a reservation back. Harmless when it has ended. */
  releaseResources(reservationId: string): Promise<void>;
}

/** Which board a job should have. Every method @throws `invalid-input` with one issue per field. */
export interface BoardSelectionStrategy {
  /** The best that fits: preferred, with the firmware, idle. With a `holder` it is reserved, else only looked at. */
  selectBoard(requirements: BoardRequirements, options?: SelectOptions): Promise<BoardSelectionResult>;
  /** All that fit; those that can be had now first, the others with when they free up. */
  getCompatibleBoards(requirements: BoardRequirements): Promise<readonly Offer<Board>[]>;
  /** How good a board would be now, by parts; or what is in the way. */
  calculateBoardScore(boardId: string, requirements: BoardRequirements): Promise<ScoredCandidate | Rejection>;
  /** Reserves this board if it fits and is free now. */
  reserveBoard(
    boardId: string,
    requirements: BoardRequirements,
    options: ReserveOptions,
  ): Promise<BoardSelectionResult>;
  /** Gives a reservation back. Harmless when it has ended. */
  releaseBoard(reservationId: string): Promise<void>;
}

/** Choosing resources: by the requirements of a kind, or by a request of any kind. */
export interface SelectionService {
  readonly buildServers: BuildServerSelectionStrategy;
  readonly hosts: HostSelectionStrategy;
  readonly boards: BoardSelectionStrategy;
  /** Resources that could be reserved right now, best first; equals in the order of their ids. */
  candidates(request: CapacityRequest): Promise<readonly ScoredCandidate[]>;
  /** Chooses and reserves in one transaction, or says why not. Nobody is put on the waiting list. */
  reserve(
    request: CapacityRequest,
    holder: string,
    options?: { readonly priority?: number; readonly expectedMs?: number },
  ): Promise<SelectionOutcome>;
}

/** How the faces see resources. */
export interface SelectionViews {
  readonly buildServer: Views<BuildServer>;
  readonly host: Views<Host>;
  readonly board: Views<Board>;
}

/** The one engine by the names of the three kinds. */
export function selectionService(services: OfferServices, views: SelectionViews): SelectionService {
  const { selection } = services;
  return {
    buildServers: buildServerSelection(services, views),
    hosts: hostSelection(services, views),
    boards: boardSelection(services, views),
    candidates: async (request) => selection.candidates(validate('the request', capacityRequestSchema, request)),
    reserve: async (request, holder, options) => {
      const valid = validate('the request', capacityRequestSchema, request);
      const { holder: by, ...lease } = validate('the options', reserveOptionsSchema, { ...options, holder });
      return selection.reserve(valid, by, lease);
    },
  };
}

function buildServerSelection(services: OfferServices, { buildServer }: SelectionViews): BuildServerSelectionStrategy {
  const servers = new ResourceSelection(services, {
    schema: buildRequirementsSchema,
    toRequest: buildRequest,
    views: buildServer,
  });
  const named = ({ result, resource }: Selected<BuildServer>): BuildServerSelectionResult => ({
    ...result,
    ...(resource !== undefined && { server: resource }),
  });
  return {
    selectServer: async (requirements, options) => named(await servers.select(requirements, options)),
    getCompatibleServers: (requirements) => servers.compatible(requirements),
    calculateServerScore: (id, requirements) => servers.score(id, requirements),
    estimateBuildTime: async (build) =>
      services.selection.estimateBuildTime(validate('the build', estimatedBuildSchema, build)),
    reserveCapacity: async (id, requirements, options) => named(await servers.reserve(id, requirements, options)),
    releaseCapacity: (reservationId) => servers.release(reservationId),
  };
}

function hostSelection(services: OfferServices, { host }: SelectionViews): HostSelectionStrategy {
  const hosts = new ResourceSelection(services, { schema: vmRequirementsSchema, toRequest: vmRequest, views: host });
  const named = ({ result, resource }: Selected<Host>): HostSelectionResult => ({
    ...result,
    ...(resource !== undefined && { host: resource }),
  });
  return {
    selectHost: async (requirements, options) => named(await hosts.select(requirements, options)),
    getCompatibleHosts: (requirements) => hosts.compatible(requirements),
    calculateHostScore: (id, requirements) => hosts.score(id, requirements),
    reserveResources: async (id, requirements, options) => named(await hosts.reserve(id, requirements, options)),
    releaseResources: (reservationId) => hosts.release(reservationId),
  };
}

function boardSelection(services: OfferServices, { board }: SelectionViews): BoardSelectionStrategy {
  const boards = new ResourceSelection(services, {
    schema: boardRequirementsSchema,
    toRequest: boardRequest,
    views: board,
  });
  const named = async (
    { result, resource }: Selected<Board>,
    { firmwareVersion }: BoardRequirements,
  ): Promise<BoardSelectionResult> => {
    if (resource === undefined || firmwareVersion === undefined) {
      return { ...result, ...(resource !== undefined && { board: resource }), requiresFlashing: false };
    }
    const running = await runningFirmware(services.store.db, firmwareVersion, [resource.id]);
    return { ...result, board: resource, requiresFlashing: !running.has(resource.id) };
  };
  return {
    selectBoard: async (requirements, options) => named(await boards.select(requirements, options), requirements),
    getCompatibleBoards: (requirements) => boards.compatible(requirements),
    calculateBoardScore: (id, requirements) => boards.score(id, requirements),
    reserveBoard: async (id, requirements, options) =>
      named(await boards.reserve(id, requirements, options), requirements),
    releaseBoard: (reservationId) => boards.release(reservationId),
  };
}
