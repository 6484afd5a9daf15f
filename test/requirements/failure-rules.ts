import type { RequirementList } from './requirement.ts';

/** What is done about each failure. */
export const failureRules: RequirementList = {
  'E-ssh-timeout': {
    says: 'An SSH connect that times out is tried 3 more times with exponential back-off; then the resource is offline.',
    where: ['packages/core/src/pool/look.ts'],
  },
  'E-ssh-auth': {
    says: 'A refused SSH login is logged, fails the registration and alerts the administrator; it is not tried again.',
    where: ['packages/core/src/pool/look.ts'],
  },
  'E-libvirt': {
    says: 'A libvirt connection that fails is tried 2 more times; then the host is degraded.',
    where: ['packages/core/src/health/judge.ts', 'packages/core/src/health/kinds/host.ts'],
  },
  'E-serial': {
    says: 'A serial connection that fails leads to a power cycle if there is one configured; then the board is offline.',
    where: [
      'packages/core/src/health/judge.ts',
      'packages/core/src/health/kinds/board.ts',
      'packages/core/src/power/recovery.ts',
    ],
  },
  'E-toolchain': {
    says: 'A toolchain that is not found is an error with what is installed and which servers have it.',
    where: ['packages/core/src/builds/named-server.ts'],
  },
  'E-compile': {
    says: 'A compilation that fails keeps its log, fails the build and gives the lines with the errors.',
    where: ['packages/core/src/builds/error-lines.ts', 'packages/core/src/builds/handler.ts'],
  },
  'E-disk': {
    says: 'A build server whose disk is full pauses its build, alerts, cleans up old artifacts and goes on.',
    where: ['packages/core/src/builds/trouble.ts', 'packages/core/src/builds/housekeeping.ts'],
  },
  'E-build-timeout': {
    says: 'A build that takes too long is cancelled, its partial log is kept, and a retry is offered.',
    where: ['packages/core/src/builds/handler.ts'],
  },
  'E-upload': {
    says: 'An artifact upload that fails is tried 3 more times; then the build has failed with partial artifacts.',
    where: ['packages/core/src/builds/collect.ts'],
  },
  'E-checksum': {
    says: 'A wrong checksum has the artifact uploaded again; still wrong, it is marked corrupted and never served.',
    where: ['packages/core/src/artifacts/verified-read.ts', 'packages/core/src/artifacts/housekeeper.ts'],
  },
  'E-store-full': {
    says: 'A full artifact storage alerts, pauses new builds and starts the clean-up.',
    where: ['packages/core/src/artifacts/room.ts', 'packages/core/src/artifacts/housekeeper.ts'],
  },
  'E-no-artifact': {
    says: 'An artifact that is not found is an error that suggests other builds.',
    where: ['packages/core/src/artifacts/suggestions.ts', 'packages/core/src/artifacts/find-build.ts'],
  },
  'E-transfer': {
    says: 'A transfer to the target that fails is tried 3 more times; then the deployment has failed, with details.',
    where: ['packages/core/src/deployments/transfer.ts'],
  },
  'E-flash': {
    says: 'A flash that fails is tried up to 3 more times; then the board is offline, with an alert.',
    where: ['packages/core/src/deployments/flash-handler.ts'],
  },
  'E-boot': {
    says: 'A boot that fails keeps its log and offers a rollback to the last known-good build.',
    where: ['packages/core/src/deployments/boot-handler.ts', 'packages/core/src/deployments/known-good.ts'],
  },
  'E-verify': {
    says: 'A verification that times out is tried again; then the deployment is unverified.',
    where: ['packages/core/src/deployments/verify.ts'],
  },
  'E-host-full': {
    says: 'A host without room leads to alternatives with room, or to a place in the queue.',
    where: ['packages/core/src/selection/resource-selection.ts', 'packages/core/src/pool/waiting-list.ts'],
  },
  'E-board-busy': {
    says: 'A board in use tells when it is expected to be free and offers a place in the queue.',
    where: ['packages/core/src/selection/wait-estimate.ts', 'packages/core/src/selection/resource-selection.ts'],
  },
  'E-power': {
    says: 'Power control that fails leaves the board to manual intervention, with an alert.',
    where: ['packages/core/src/power/intervention.ts', 'packages/connector-pdu/src/device.ts'],
  },
  'E-no-match': {
    says: 'When nothing is compatible, the answer names the unmet requirements and suggests what to change.',
    where: ['packages/core/src/selection/explain.ts'],
  },
  'E-invalid': {
    says: 'An invalid configuration of a server, host or board is an error with one issue for each field.',
    where: ['packages/core/src/model/validate.ts', 'packages/core/src/errors.ts#invalidInput'],
  },
  'E-requirements': {
    says: 'Requirements that can’t be met are told one by one, with suggestions.',
    where: ['packages/core/src/selection/explain.ts'],
  },
  'E-policy': {
    says: 'A policy that is violated is named, with whose approval it wants.',
    where: ['packages/core/src/pool/policies.ts'],
  },
};
