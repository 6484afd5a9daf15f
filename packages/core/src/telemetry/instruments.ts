/** A metric: what it counts or measures, in the words of OpenTelemetry. */
export interface Instrument {
  /** As OpenTelemetry knows it. Prometheus has it with underscores and its unit. */
  readonly name: string;
  /** Counters and histograms are this process's; gauges are the whole lab's unless their description says otherwise. */
  readonly type: 'counter' | 'histogram' | 'gauge';
  /** In UCUM: `s`, `By`, or what is counted in braces. */
  readonly unit: string;
  readonly description: string;
  /** Names of its attributes. */
  readonly attributes: readonly string[];
  /** Upper bounds of a histogram's buckets. */
  readonly buckets?: readonly number[];
}

/** From a call on this machine to an image that is flashed. */
const callSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800];
/** From a power cycle to a build that takes hours. */
const workSeconds = [0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400];

/** What is counted. */
export type CounterKey = 'workEnded' | 'workRuns' | 'workTakeovers' | 'logWritten';
/** What is measured each time it happens. */
export type HistogramKey = 'workDuration' | 'workQueueDuration' | 'callDuration';
/** What is read when somebody wants to know. */
export type GaugeKey =
  | 'workCount'
  | 'workQueueAge'
  | 'leaseCount'
  | 'resourceCount'
  | 'waitingCount'
  | 'alertCount'
  | 'storeReachable'
  | 'eventLag'
  | 'logSize';

/** All metrics, in the order in which they are told. docs/OBSERVABILITY.md explains them. */
export const instruments: Readonly<Record<CounterKey | HistogramKey | GaugeKey, Instrument>> = {
  workEnded: {
    name: 'bringup.work.ended',
    type: 'counter',
    unit: '{item}',
    description: 'Work items that a run of this process brought to their end.',
    attributes: ['bringup.work.kind', 'bringup.work.outcome', 'error.type'],
  },
  workDuration: {
    name: 'bringup.work.duration',
    type: 'histogram',
    unit: 's',
    description: 'From the first start of a work item to its end, waiting included.',
    attributes: ['bringup.work.kind', 'bringup.work.outcome'],
    buckets: workSeconds,
  },
  workQueueDuration: {
    name: 'bringup.work.queue.duration',
    type: 'histogram',
    unit: 's',
    description: 'From the submission of a work item to its first start.',
    attributes: ['bringup.work.kind'],
    buckets: workSeconds,
  },
  workRuns: {
    name: 'bringup.work.runs',
    type: 'counter',
    unit: '{run}',
    description: 'Runs of work items: an item that waits, or is handed over, is run again.',
    attributes: ['bringup.work.kind', 'bringup.work.outcome'],
  },
  workTakeovers: {
    name: 'bringup.work.takeovers',
    type: 'counter',
    unit: '{item}',
    description: 'Work items that this process found to have lost their process, and put back into the queue.',
    attributes: ['bringup.work.kind'],
  },
  callDuration: {
    name: 'bringup.connector.call.duration',
    type: 'histogram',
    unit: 's',
    description: 'Calls of connectors, of the artifact storage and of notifiers.',
    attributes: ['bringup.connector.type', 'bringup.connector.name', 'bringup.connector.operation', 'error.type'],
    buckets: callSeconds,
  },
  logWritten: {
    name: 'bringup.log.written',
    type: 'counter',
    unit: 'By',
    description: 'Log bytes that this process stored.',
    attributes: [],
  },
  workCount: {
    name: 'bringup.work.count',
    type: 'gauge',
    unit: '{item}',
    description: 'Unfinished work items.',
    attributes: ['bringup.work.kind', 'bringup.work.state'],
  },
  workQueueAge: {
    name: 'bringup.work.queue.age',
    type: 'gauge',
    unit: 's',
    description: 'How long the oldest work item that has not been started yet has been queued.',
    attributes: ['bringup.work.kind'],
  },
  leaseCount: {
    name: 'bringup.lease.count',
    type: 'gauge',
    unit: '{lease}',
    description: 'Leases that are held: of work items, of reservations, and of shards of the health watch.',
    attributes: ['bringup.lease.type'],
  },
  resourceCount: {
    name: 'bringup.resource.count',
    type: 'gauge',
    unit: '{resource}',
    description: 'Registered resources. One in maintenance counts as that, whatever its health.',
    attributes: ['bringup.resource.kind', 'bringup.resource.status'],
  },
  waitingCount: {
    name: 'bringup.waiting.count',
    type: 'gauge',
    unit: '{request}',
    description: 'Requests that wait for a resource.',
    attributes: ['bringup.resource.kind'],
  },
  alertCount: {
    name: 'bringup.alert.count',
    type: 'gauge',
    unit: '{alert}',
    description: 'Alerts that are not resolved.',
    attributes: ['bringup.alert.severity'],
  },
  storeReachable: {
    name: 'bringup.store.reachable',
    type: 'gauge',
    unit: '1',
    description: '1 while this process reaches the database, 0 while it does not: other gauges are absent then.',
    attributes: [],
  },
  eventLag: {
    name: 'bringup.event.lag',
    type: 'gauge',
    unit: '{event}',
    description: 'Events that are committed and that this process has not told its listeners yet.',
    attributes: [],
  },
  logSize: {
    name: 'bringup.log.size',
    type: 'gauge',
    unit: 'By',
    description: 'Bytes of all logs in the store.',
    attributes: [],
  },
};
