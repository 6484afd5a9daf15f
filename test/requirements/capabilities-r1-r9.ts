import type { RequirementList } from './requirement.ts';

/** Capabilities R1 to R9: build servers, builds, artifacts, deployments, registration of hosts and boards. */
export const capabilitiesR1ToR9: RequirementList = {
  'R1.1': {
    says: 'A build server is registered from its host name, IP address, SSH login and the toolchains it is said to have.',
    where: [
      'packages/core/src/pool/kinds/build-server.ts',
      'packages/core/src/model/resource.ts#BuildServerRegistration',
    ],
  },
  'R1.2': {
    says: 'Registration proves that SSH works and that each promised toolchain is there for its architecture.',
    where: ['packages/core/src/pool/probe.ts', 'packages/core/src/pool/kinds/build-server.ts'],
  },
  'R1.3': {
    says: 'A registered build server is in the pool with the cores, memory, disk and toolchains it was found to have.',
    where: ['packages/core/src/pool/pool.ts', 'packages/core/src/pool/kinds/build-server.ts'],
  },
  'R1.4': {
    says: 'A registration that fails names the cause, connection, authentication, toolchain or resources, and leaves nothing in the pool.',
    where: ['packages/core/src/pool/look.ts', 'packages/core/src/pool/minimum.ts'],
  },
  'R1.5': {
    says: 'Target architectures and the build configurations that are allowed can be stated for a build server.',
    where: [
      'packages/core/src/model/resource.ts#BuildServerRegistration',
      'packages/core/src/pool/kinds/build-server.ts',
    ],
  },
  'R2.1': {
    says: 'All build servers are listed with status, active builds, queue depth and utilization.',
    where: ['packages/core/src/pool/services.ts#BuildServerService', 'packages/core/src/builds/statistics.ts'],
  },
  'R2.2': {
    says: 'Changes of a build server’s CPU, memory, disk or active builds are visible within 10 seconds.',
    where: ['packages/core/src/health/monitor.ts', 'packages/core/src/health/kinds/build-server.ts'],
  },
  'R2.3': {
    says: 'A build server that can’t be reached is offline, its queued builds go elsewhere, its last known status stays readable.',
    where: ['packages/core/src/health/apply.ts', 'packages/core/src/health/monitor.ts'],
  },
  'R2.4': {
    says: 'Less than 10 GB of free disk on a build server is a warning; if so configured, it takes no new builds.',
    where: ['packages/core/src/health/conditions.ts', 'packages/core/src/health/thresholds.ts'],
  },
  'R2.5': {
    says: 'One build server shows its toolchains, build history, average build time and current jobs.',
    where: ['packages/core/src/builds/statistics.ts'],
  },
  'R3.1': {
    says: 'A build is submitted with repository, branch or commit, architecture, build configuration and, if wanted, a server.',
    where: ['packages/core/src/builds/manager.ts#BuildJobManager', 'packages/core/src/model/build.ts#BuildRequest'],
  },
  'R3.2': {
    says: 'Without a named server the build goes where architecture, load and estimated build time say.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/build-times.ts'],
  },
  'R3.3': {
    says: 'A named server is checked for the toolchain and for room.',
    where: ['packages/core/src/builds/named-server.ts'],
  },
  'R3.4': {
    says: 'A toolchain that is missing on the named server is an error that names the servers which have it.',
    where: ['packages/core/src/builds/named-server.ts'],
  },
  'R3.5': {
    says: 'A submitted build is queued with an estimated start, and its progress and log are live.',
    where: ['packages/core/src/builds/manager.ts#BuildJobManager'],
  },
  'R4.1': {
    says: 'Kernel image, device tree, rootfs and modules of a finished build are kept with build id, commit and architecture.',
    where: ['packages/core/src/artifacts/repository.ts', 'packages/core/src/builds/collect.ts'],
  },
  'R4.2': {
    says: 'Checksums are made and verified before a build counts as complete.',
    where: ['packages/core/src/builds/collect.ts', 'packages/core/src/artifacts/file-storage.ts'],
  },
  'R4.3': {
    says: 'The build history tells status, duration, artifact sizes and where to download.',
    where: ['packages/core/src/builds/manager.ts#BuildJobManager', 'packages/core/src/builds/statistics.ts'],
  },
  'R4.4': {
    says: 'Old artifacts are cleaned up by retention rules; those of tagged and pinned builds are kept.',
    where: [
      'packages/core/src/artifacts/retention.ts',
      'packages/core/src/artifacts/marks.ts',
      'packages/core/src/artifacts/housekeeper.ts',
    ],
  },
  'R4.5': {
    says: 'Artifacts are found by build id, by commit, or as the latest successful of a branch.',
    where: ['packages/core/src/artifacts/repository.ts'],
  },
  'R5.1': {
    says: 'What is deployed to a VM is chosen by build id, by commit, or as the latest of a branch.',
    where: ['packages/core/src/deployments/manager.ts#DeploymentManager'],
  },
  'R5.2': {
    says: 'Kernel, initrd and rootfs go to the host, and the VM is given its boot parameters.',
    where: ['packages/core/src/deployments/transfer.ts', 'packages/core/src/deployments/vm.ts'],
  },
  'R5.3': {
    says: 'That the deployed artifacts have booted is verified and reported.',
    where: ['packages/core/src/deployments/boot-handler.ts', 'packages/core/src/consoles/boot-watch.ts#BootWatch'],
  },
  'R5.4': {
    says: 'A deployment that fails keeps the boot log and the error’s details, and offers retry or rollback.',
    where: ['packages/core/src/deployments/boot-handler.ts'],
  },
  'R5.5': {
    says: 'An environment tells which build it runs: build id, commit and since when.',
    where: ['packages/core/src/environments/service.ts'],
  },
  'R6.1': {
    says: 'Only artifacts of the board’s architecture can be deployed to it.',
    where: ['packages/core/src/deployments/flash-plan.ts', 'packages/core/src/deployments/board-target.ts'],
  },
  'R6.2': {
    says: 'Artifacts go to the board’s flash station and are flashed.',
    where: ['packages/core/src/deployments/flash-handler.ts', 'packages/core/src/contracts/flash.ts'],
  },
  'R6.3': {
    says: 'After flashing the board is power-cycled, and its boot with the new firmware is verified.',
    where: [
      'packages/core/src/deployments/board-target.ts',
      'packages/core/src/deployments/boot-handler.ts',
      'packages/core/src/pool/power-sequence.ts',
    ],
  },
  'R6.4': {
    says: 'A deployment to a board that fails keeps the serial log and the details, and offers the last known-good image.',
    where: [
      'packages/core/src/deployments/boot-handler.ts',
      'packages/core/src/deployments/known-good.ts',
      'packages/core/src/deployments/manager.ts',
    ],
  },
  'R6.5': {
    says: 'A board tells its deployed build, flash history and running firmware version.',
    where: ['packages/core/src/deployments/flash-records.ts', 'packages/core/src/pool/kinds/board.ts'],
  },
  'R7.1': {
    says: 'A host is registered from its host name, IP address, SSH login and resource figures.',
    where: ['packages/core/src/pool/kinds/host.ts', 'packages/core/src/model/resource.ts#HostRegistration'],
  },
  'R7.2': {
    says: 'SSH and libvirt are proven on a host before it is in the pool.',
    where: ['packages/core/src/pool/kinds/host.ts', 'packages/core/src/pool/probe.ts'],
  },
  'R7.3': {
    says: 'A registered host is in the pool, with the capabilities it was found to have.',
    where: ['packages/core/src/pool/pool.ts', 'packages/core/src/pool/kinds/host.ts'],
  },
  'R7.4': {
    says: 'A host’s registration that fails names the connection, the authentication or the dependency that is missing.',
    where: ['packages/core/src/pool/probe.ts', 'packages/core/src/pool/kinds/host.ts'],
  },
  'R7.5': {
    says: 'A host’s CPU architecture, memory, storage and KVM are detected, not asked.',
    where: ['packages/core/src/pool/probe.ts', 'packages/core/src/pool/kinds/host.ts'],
  },
  'R8.1': {
    says: 'A board is registered with its type, serial number, way of connection and hardware facts.',
    where: ['packages/core/src/pool/kinds/board.ts', 'packages/core/src/model/resource.ts#BoardRegistration'],
  },
  'R8.2': {
    says: 'A board’s SSH or serial console is proven to answer.',
    where: ['packages/core/src/pool/console-proof.ts', 'packages/core/src/pool/probe.ts'],
  },
  'R8.3': {
    says: 'A registered board is in the pool with the architecture and peripherals it was found to have.',
    where: ['packages/core/src/pool/pool.ts', 'packages/core/src/pool/kinds/board.ts'],
  },
  'R8.4': {
    says: 'A board’s power is controlled by USB hub, relay, PDU or by hand.',
    where: ['packages/core/src/model/power.ts', 'packages/core/src/power/service.ts'],
  },
  'R8.5': {
    says: 'A flash station can be attached to a board.',
    where: ['packages/core/src/pool/kinds/board-registration.ts', 'packages/core/src/contracts/flash.ts'],
  },
  'R9.1': {
    says: 'Hosts are listed with status, utilization and running VMs.',
    where: ['packages/core/src/pool/services.ts#HostService'],
  },
  'R9.2': {
    says: 'Changes of a host are visible within 10 seconds.',
    where: ['packages/core/src/health/monitor.ts', 'packages/core/src/health/kinds/host.ts'],
  },
  'R9.3': {
    says: 'A host that can’t be reached is offline, with its last known status and the time of it.',
    where: ['packages/core/src/health/apply.ts', 'packages/core/src/health/monitor.ts'],
  },
  'R9.4': {
    says: 'A host above 85 % on any resource is a warning and gets no new VMs.',
    where: ['packages/core/src/health/conditions.ts', 'packages/core/src/health/thresholds.ts'],
  },
  'R9.5': {
    says: 'One host shows its running VMs, network configuration and performance history.',
    where: ['packages/core/src/pool/services.ts#HostService'],
  },
};
