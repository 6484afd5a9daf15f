import type { RequirementList } from './requirement.ts';

/** Capabilities R10 to R18: boards watched, choice, lifecycle, groups, insight, alerts, pipelines, power. */
export const capabilitiesR10ToR18: RequirementList = {
  'R10.1': {
    says: 'Boards are listed with status, assigned test and health.',
    where: ['packages/core/src/pool/services.ts#BoardService'],
  },
  'R10.2': {
    says: 'Changes of a board are visible within 5 seconds.',
    where: ['packages/core/src/health/monitor.ts', 'packages/core/src/health/kinds/board.ts'],
  },
  'R10.3': {
    says: 'A board that can’t be reached is offline, and recovery by a power cycle is tried.',
    where: ['packages/core/src/health/apply.ts', 'packages/core/src/power/recovery.ts'],
  },
  'R10.4': {
    says: 'Health that gets worse warns: temperature, storage, connectivity.',
    where: ['packages/core/src/health/conditions.ts', 'packages/core/src/health/kinds/board.ts'],
  },
  'R10.5': {
    says: 'One board shows its hardware, peripherals, kernel version and test history.',
    where: ['packages/core/src/pool/diagnosis.ts', 'packages/core/src/health/history.ts'],
  },
  'R11.1': {
    says: 'Hosts are offered for an environment with the capacity they have now.',
    where: ['packages/core/src/selection/offers.ts'],
  },
  'R11.2': {
    says: 'Boards are offered for an environment by architecture and type.',
    where: ['packages/core/src/selection/offers.ts'],
  },
  'R11.3': {
    says: 'Without a choice, an environment’s place is picked by requirements and load.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/strategy.ts'],
  },
  'R11.4': {
    says: 'A chosen resource that is full or unavailable is a warning with alternatives.',
    where: ['packages/core/src/selection/resource-selection.ts', 'packages/core/src/selection/explain.ts'],
  },
  'R11.5': {
    says: 'Creating an environment reserves the resource and provisions it with the chosen artifacts.',
    where: ['packages/core/src/environments/service.ts', 'packages/core/src/deployments/deployment-handler.ts'],
  },
  'R12.1': {
    says: 'Maintenance of any kind of resource blocks new allocations and is shown.',
    where: ['packages/core/src/pool/pool.ts', 'packages/core/src/pool/reservations.ts'],
  },
  'R12.2': {
    says: 'A build server in maintenance finishes its active builds; queued ones go elsewhere.',
    where: ['packages/core/src/pool/maintenance.ts', 'packages/core/src/pool/waiting-list.ts'],
  },
  'R12.3': {
    says: 'Hosts and boards in maintenance let their workloads finish, or offer release or migration.',
    where: ['packages/core/src/environments/workloads.ts'],
  },
  'R12.4': {
    says: 'Decommissioning checks for active workloads and wants confirmation.',
    where: ['packages/core/src/pool/pool.ts'],
  },
  'R12.5': {
    says: 'Scheduled maintenance windows are shown with the capacity they take away.',
    where: ['packages/core/src/pool/maintenance.ts', 'packages/core/src/model/maintenance.ts'],
  },
  'R13.1': {
    says: 'A build server is selected by architecture, load and estimated completion.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/build-times.ts'],
  },
  'R13.2': {
    says: 'A host is selected by CPU, memory, architecture and KVM.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/requests.ts#vmRequest'],
  },
  'R13.3': {
    says: 'A board is selected by architecture, type and peripherals.',
    where: ['packages/core/src/selection/select.ts', 'packages/core/src/selection/requests.ts#boardRequest'],
  },
  'R13.4': { says: 'Among equals the less utilized comes first.', where: ['packages/core/src/selection/select.ts'] },
  'R13.5': {
    says: 'When nothing fits now, the request waits in line with an estimated wait.',
    where: ['packages/core/src/pool/waiting-list.ts', 'packages/core/src/selection/wait-estimate.ts'],
  },
  'R14.1': {
    says: 'Resources of any kind are grouped by labels such as architecture, place, team and purpose.',
    where: ['packages/core/src/pool/groups.ts', 'packages/core/src/pool/membership.ts'],
  },
  'R14.2': {
    says: 'A policy limits concurrent allocations and VMs per host, reserves boards for teams, sets priority and wants approval.',
    where: ['packages/core/src/pool/policies.ts'],
  },
  'R14.3': {
    says: 'Membership of a group is validated, and its statistics are shown.',
    where: ['packages/core/src/pool/groups.ts', 'packages/core/src/pool/membership.ts'],
  },
  'R14.4': {
    says: 'Conflicting policies apply in the order of their priority, and each decision is logged.',
    where: ['packages/core/src/pool/policies.ts'],
  },
  'R14.5': {
    says: 'A group’s statistics tell total capacity, utilization and how the workload is spread.',
    where: ['packages/core/src/pool/groups.ts'],
  },
  'R15.1': {
    says: 'A build tells its server, duration, resource use and the places of its artifacts.',
    where: ['packages/core/src/builds/manager.ts#BuildJobManager'],
  },
  'R15.2': {
    says: 'An environment tells its host or board, its build and its connection status.',
    where: ['packages/core/src/environments/service.ts'],
  },
  'R15.3': {
    says: 'Each resource can be diagnosed: logs, state, error context.',
    where: ['packages/core/src/pool/diagnosis.ts'],
  },
  'R15.4': {
    says: 'Direct access is told: SSH coordinates and serial console coordinates.',
    where: ['packages/core/src/pool/diagnosis.ts'],
  },
  'R15.5': { says: 'All of this updates live.', where: ['packages/core/src/store/feed.ts#EventFeed'] },
  'R16.1': {
    says: 'A resource that can’t be reached raises an alert within 30 seconds, and recovery is tried where it can be.',
    where: ['packages/core/src/health/apply.ts', 'packages/core/src/alerts/raise.ts'],
  },
  'R16.2': {
    says: 'Critically low disk or resources warn and, if so configured, stop new allocations.',
    where: ['packages/core/src/health/conditions.ts', 'packages/core/src/health/thresholds.ts'],
  },
  'R16.3': {
    says: 'A board’s temperature, power or connectivity out of bounds raises an alert.',
    where: ['packages/core/src/health/conditions.ts', 'packages/core/src/alerts/raise.ts'],
  },
  'R16.4': {
    says: 'A build, provisioning or deployment that failed is logged, alerted and tried elsewhere.',
    where: ['packages/core/src/builds/attempt.ts', 'packages/core/src/alerts/work-rules.ts'],
  },
  'R16.5': {
    says: 'Alerts are delivered as events in the process, by e-mail and by webhook.',
    where: [
      'packages/core/src/alerts/delivery-handler.ts',
      'packages/core/src/notifiers/email.ts',
      'packages/core/src/notifiers/webhook.ts',
    ],
  },
  'R17.1': {
    says: 'A pipeline takes repository, branch, architecture and the environment wanted.',
    where: [
      'packages/core/src/pipelines/manager.ts#PipelineManager',
      'packages/core/src/model/pipeline.ts#PipelineRequest',
    ],
  },
  'R17.2': {
    says: 'A pipeline queues its build, and on success its environment is made from the build’s artifacts.',
    where: ['packages/core/src/pipelines/flow.ts'],
  },
  'R17.3': {
    says: 'Stage changes and the logs of build, deploy, boot and test are live.',
    where: ['packages/core/src/pipelines/manager.ts#PipelineManager'],
  },
  'R17.4': {
    says: 'A stage that fails halts the pipeline, keeps artifacts and logs, and notifies.',
    where: ['packages/core/src/pipelines/flow.ts', 'packages/core/src/alerts/work-rules.ts'],
  },
  'R17.5': {
    says: 'The history tells stage durations, success rates and the way to build and test results.',
    where: ['packages/core/src/pipelines/manager.ts#PipelineManager'],
  },
  'R18.1': {
    says: 'Each board has its method of power control: USB hub port, PDU outlet or GPIO relay.',
    where: [
      'packages/core/src/model/power.ts',
      'packages/core/src/pool/kinds/board-registration.ts',
      'packages/connector-pdu/src/connector.ts',
    ],
  },
  'R18.2': {
    says: 'A power cycle runs the configured sequence and watches the board come back.',
    where: ['packages/core/src/pool/power-sequence.ts', 'packages/core/src/power/handler.ts'],
  },
  'R18.3': {
    says: 'A board that hangs during a test is power-cycled by policy.',
    where: ['packages/core/src/power/recovery.ts'],
  },
  'R18.4': {
    says: 'When power control fails, the board needs manual intervention and an alert says so.',
    where: ['packages/core/src/power/intervention.ts'],
  },
  'R18.5': {
    says: 'The configuration and the history of power events are readable.',
    where: ['packages/core/src/power/records.ts', 'packages/core/src/power/service.ts'],
  },
};
