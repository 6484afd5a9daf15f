import type { RequirementList } from './requirement.ts';

/** Invariants P1 to P24: each is proven by a property test of at least 100 cases. */
export const invariants: RequirementList = {
  P1: {
    says: 'A build server whose SSH and toolchains were proven is in the pool with its true capabilities.',
    where: ['packages/core/src/pool/kinds/build-server.ts', 'packages/core/src/pool/pool.ts'],
  },
  P2: {
    says: 'The server that a build gets has a toolchain for the build’s architecture.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/requests.ts#buildRequest'],
  },
  P3: {
    says: 'A build server with less than 10 GB of disk shows a warning, and takes no new builds if so configured.',
    where: ['packages/core/src/health/conditions.ts'],
  },
  P4: {
    says: 'The checksums stored for a completed build are those of the files it made.',
    where: ['packages/core/src/builds/collect.ts', 'packages/core/src/artifacts/repository.ts'],
  },
  P5: {
    says: 'By build id, by commit and as the latest, an artifact is the same with the same metadata.',
    where: ['packages/core/src/artifacts/repository.ts'],
  },
  P6: { says: 'What is deployed fits the architecture of its target.', where: ['packages/core/src/deployments/vm.ts'] },
  P7: {
    says: 'Build, deploy, boot and test come in this order; a stage starts only after the one before has completed.',
    where: ['packages/core/src/pipelines/flow.ts'],
  },
  P8: {
    says: 'A host whose SSH and libvirt were proven is in the pool with its true capabilities.',
    where: ['packages/core/src/pool/kinds/host.ts', 'packages/core/src/pool/pool.ts'],
  },
  P9: {
    says: 'A host above 85 % on any resource is allocated no new VM.',
    where: ['packages/core/src/health/conditions.ts'],
  },
  P10: {
    says: 'A host that becomes unreachable is offline within one monitoring interval.',
    where: ['packages/core/src/health/monitor.ts', 'packages/core/src/health/apply.ts'],
  },
  P11: {
    says: 'The host that a VM gets meets all of its requirements.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/requests.ts#vmRequest'],
  },
  P12: {
    says: 'A board whose connectivity was proven is in the pool with its true hardware facts.',
    where: ['packages/core/src/pool/kinds/board.ts', 'packages/core/src/pool/pool.ts'],
  },
  P13: {
    says: 'For an unreachable board with power control, a power cycle is tried by itself.',
    where: ['packages/core/src/power/recovery.ts'],
  },
  P14: {
    says: 'The board that a job gets has the architecture, type and peripherals asked for.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/requests.ts#boardRequest'],
  },
  P15: {
    says: 'A board that is being flashed has the status flashing and can’t be allocated.',
    where: ['packages/core/src/power/permission.ts', 'packages/core/src/pool/status.ts'],
  },
  P16: {
    says: 'A power cycle is off, delay, on, and then recovery is watched.',
    where: ['packages/core/src/pool/power-sequence.ts'],
  },
  P17: {
    says: 'Of resources that meet the requirements equally, the less utilized is preferred.',
    where: ['packages/core/src/selection/select.ts'],
  },
  P18: {
    says: 'A resource in maintenance is allocated nothing new.',
    where: ['packages/core/src/pool/reservations.ts#reserve'],
  },
  P19: {
    says: 'A resource with active workloads can’t be decommissioned without force.',
    where: ['packages/core/src/pool/pool.ts'],
  },
  P20: {
    says: 'The capacity that is available shows a reservation until its release.',
    where: ['packages/core/src/pool/reservations.ts#reserve', 'packages/core/src/pool/reservations.ts#release'],
  },
  P21: { says: 'Allocations in a group with policies obey them.', where: ['packages/core/src/pool/policies.ts'] },
  P22: { says: 'A group’s statistics are the sums over its members.', where: ['packages/core/src/pool/groups.ts'] },
  P23: {
    says: 'For a resource that becomes unreachable there is an alert within 30 seconds.',
    where: ['packages/core/src/health/apply.ts', 'packages/core/src/alerts/raise.ts'],
  },
  P24: {
    says: 'After a failed build, VM or test provisioning another resource is tried when there is one.',
    where: ['packages/core/src/builds/attempt.ts'],
  },
};
