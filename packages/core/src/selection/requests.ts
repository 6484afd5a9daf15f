import { limits } from '../limits.ts';
import type { BoardRequirements, BuildRequirements, RequirementsBase, VmRequirements } from '../model/requirements.ts';
import { boardTypeTrait, firmwareTrait, flashableTrait, peripheralTrait } from '../pool/kinds/board.ts';
import { recipeTrait, toolchainTrait } from '../pool/kinds/build-server.ts';
import { groupTrait, labelTrait } from '../pool/kind.ts';
import type { CapacityRequest, RequiredTrait } from '../pool/reservations.ts';

/** A build takes one slot of a server that has a compiler for the architecture. */
export function buildRequest(requirements: BuildRequirements): CapacityRequest {
  const { targetArchitecture: architecture, requiredToolchain, serverId, preferredServerId } = requirements;
  return {
    kind: 'build_server',
    architecture,
    traits: [
      ...shared(requirements),
      ...(requiredToolchain === undefined
        ? []
        : [[trait(toolchainTrait(requiredToolchain, architecture), 'toolchain', requiredToolchain)]]),
      ...(requirements.recipe === undefined
        ? []
        : [[trait(recipeTrait(requirements.recipe), 'recipe', requirements.recipe)]]),
    ],
    use: { slots: 1, cpu: 0, memoryMb: 0, storageGb: 0 },
    minimum: {
      cpu: requirements.minCpuCores ?? limits.buildMinCpuCores,
      memoryMb: requirements.minMemoryMb ?? limits.buildMinMemoryMb,
      storageGb: requirements.minStorageGb ?? limits.buildMinStorageGb,
    },
    ...asker(requirements),
    ...(serverId !== undefined && { only: serverId }),
    ...(preferredServerId !== undefined && { preferred: preferredServerId }),
    ...(requirements.sourceRepository !== undefined && { repository: requirements.sourceRepository }),
  };
}

/** A VM takes a slot, and its CPUs, memory and disk, of a host that can run its architecture. */
export function vmRequest(requirements: VmRequirements): CapacityRequest {
  const { architecture, hostId, preferredHostId } = requirements;
  return {
    kind: 'host',
    architecture,
    traits: [
      ...shared(requirements),
      ...(requirements.requireKvm === true ? [[trait('kvm', 'kvm', true)]] : []),
      ...(requirements.requireNestedVirt === true ? [[trait('nested-virt', 'nestedVirt', true)]] : []),
    ],
    use: {
      slots: 1,
      cpu: requirements.minCpuCores ?? 1,
      memoryMb: requirements.minMemoryMb ?? 256,
      storageGb: requirements.minStorageGb ?? 0,
    },
    minimum: { cpu: 0, memoryMb: 0, storageGb: 0 },
    ...asker(requirements),
    ...(hostId !== undefined && { only: hostId }),
    ...(preferredHostId !== undefined && { preferred: preferredHostId }),
  };
}

/** A job takes a board whole. */
export function boardRequest(requirements: BoardRequirements): CapacityRequest {
  const { architecture, boardId, preferredBoardId, firmwareVersion } = requirements;
  const { boardTypes = [], requiredPeripherals = [] } = requirements;
  return {
    kind: 'board',
    architecture,
    traits: [
      ...shared(requirements),
      ...(boardTypes.length === 0 ? [] : [boardTypes.map((type) => trait(boardTypeTrait(type), 'boardType', type))]),
      ...(firmwareVersion === undefined
        ? []
        : [
            [
              trait(firmwareTrait(firmwareVersion), 'firmwareVersion', firmwareVersion),
              trait(flashableTrait, 'firmwareVersion', 'a flash station'),
            ],
          ]),
      ...requiredPeripherals.map((name) => [trait(peripheralTrait(name), `peripheral:${name}`, true)]),
    ],
    use: { slots: 1, cpu: 0, memoryMb: 0, storageGb: 0 },
    minimum: { cpu: 0, memoryMb: 0, storageGb: 0 },
    ...asker(requirements),
    ...(boardId !== undefined && { only: boardId }),
    ...(firmwareVersion !== undefined && { firmwareVersion }),
    ...(preferredBoardId !== undefined && { preferred: preferredBoardId }),
  };
}

/** Traits that any kind may be asked for: labels and a group. */
function shared({ requiredLabels = {}, groupId }: RequirementsBase): RequiredTrait[][] {
  return [
    ...Object.entries(requiredLabels).map(([key, value]) => [trait(labelTrait(key, value), `label:${key}`, value)]),
    ...(groupId === undefined ? [] : [[trait(groupTrait(groupId), 'group', groupId)]]),
  ];
}

/** What policies ask about. */
function asker({
  groupId,
  team,
  requester,
}: RequirementsBase): Pick<CapacityRequest, 'groupId' | 'team' | 'requester'> {
  return {
    ...(groupId !== undefined && { groupId }),
    ...(team !== undefined && { team }),
    ...(requester !== undefined && { requester }),
  };
}

function trait(name: string, requirement: string, wanted: string | boolean): RequiredTrait {
  return { trait: name, requirement, wanted };
}
