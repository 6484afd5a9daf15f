import * as v from 'valibot';
import { NotificationHandler } from './alerts/delivery-handler.ts';
import { forgetOldAlerts } from './alerts/retention.ts';
import { AlertService } from './alerts/service.ts';
import { tellOfAlerts } from './alerts/tell.ts';
import { alertOfStorage } from './alerts/storage-rules.ts';
import { alertOfFailedWork } from './alerts/work-rules.ts';
import { ArtifactHousekeeper } from './artifacts/housekeeper.ts';
import { ArtifactRepository } from './artifacts/repository.ts';
import { BuildHandler } from './builds/handler.ts';
import { BuildJobManager } from './builds/manager.ts';
import { removeLeftBuilds } from './builds/orphans.ts';
import { Cleanup } from './cleanup.ts';
import type { ArtifactStorage } from './contracts/artifact-storage.ts';
import type { Notifier } from './contracts/notifier.ts';
import type { Clock, Logger, Random } from './contracts/runtime.ts';
import { releaseAbandonedBoards } from './deployments/abandoned-boards.ts';
import { BoardTarget } from './deployments/board-target.ts';
import { BootHandler } from './deployments/boot-handler.ts';
import { failedOn } from './deployments/failed-on.ts';
import { DeploymentHandler } from './deployments/deployment-handler.ts';
import { FlashHandler } from './deployments/flash-handler.ts';
import { FlashManager } from './deployments/flash-manager.ts';
import { tidyHostFiles } from './deployments/host-files.ts';
import { DeploymentManager } from './deployments/manager.ts';
import { reapOrphans } from './deployments/orphans.ts';
import { ReleaseHandler } from './deployments/release-handler.ts';
import { VmService } from './deployments/vm-service.ts';
import { VmTarget } from './deployments/vm-target.ts';
import { ConsoleService } from './environments/console-service.ts';
import { decommissioning } from './environments/decommission.ts';
import { keepReservations } from './environments/keeper.ts';
import { EnvironmentService } from './environments/service.ts';
import { WorkloadService } from './environments/workloads.ts';
import { isBringupError } from './errors.ts';
import type { TransferReport } from './events.ts';
import type { StartRecovery } from './health/apply.ts';
import { Monitor } from './health/monitor.ts';
import { healthService, type HealthMonitorService } from './health/service.ts';
import { limits } from './limits.ts';
import type { RetentionPolicy } from './model/artifact.ts';
import type { LabStatus } from './model/lab-status.ts';
import { roles, workOf, type Role } from './model/role.ts';
import { validate } from './model/validate.ts';
import { PipelineFlow } from './pipelines/flow.ts';
import { PipelineManager } from './pipelines/manager.ts';
import { Admissions } from './pool/admission.ts';
import { Connectors, type GivenConnectors } from './pool/connectors.ts';
import { diagnose, type Diagnosis } from './pool/diagnosis.ts';
import { ResourceGroupService, watchGroups } from './pool/groups.ts';
import { MaintenanceService } from './pool/maintenance.ts';
import { Policies } from './pool/policies.ts';
import { tendPolicies } from './pool/policy-upkeep.ts';
import { Pool } from './pool/pool.ts';
import { boardKind } from './pool/kinds/board.ts';
import { buildServerKind } from './pool/kinds/build-server.ts';
import { hostKind } from './pool/kinds/host.ts';
import { PowerHandler } from './power/handler.ts';
import { watchInterventions } from './power/intervention.ts';
import { PowerService } from './power/service.ts';
import {
  boards,
  buildServers,
  hosts,
  type BoardService,
  type BuildServerService,
  type HostService,
} from './pool/services.ts';
import { WaitingList } from './pool/waiting-list.ts';
import { startRecovery } from './power/recovery.ts';
import { Figures, figureGauges } from './status/figures.ts';
import { metricsService, type MetricsService } from './status/metrics.ts';
import { StatusService } from './status/service.ts';
import { silentLogger, systemClock, systemRandom } from './runtime.ts';
import { ReservationService } from './selection/reservation-service.ts';
import { Selection } from './selection/select.ts';
import { selectionService, type SelectionService } from './selection/services.ts';
import { Strategies, type SelectionStrategy } from './selection/strategy.ts';
import { SharedChore } from './store/chores.ts';
import { EventFeed } from './store/feed.ts';
import { labIdentity } from './store/identity.ts';
import type { StoreProvider } from './store/provider.ts';
import { sqlite } from './store/sqlite-provider.ts';
import { Store } from './store/store.ts';
import { CallMeter } from './telemetry/measured.ts';
import { loadTelemetry } from './telemetry/telemetry.ts';
import { TestRunHandler } from './testruns/handler.ts';
import { TestRunManager } from './testruns/manager.ts';
import { regularly, sweep, type Chore } from './upkeep.ts';
import { WorkEngine } from './work/engine.ts';
import { FarTimes } from './store/far-times.ts';

/** What a lab is made of. Everything but the artifact storage has a default. */
export interface LabOptions {
  /** Where records are kept. Default: SQLite in memory, gone with the process. */
  readonly store?: StoreProvider;
  /** Where artifact bytes are kept. */
  readonly artifacts: ArtifactStorage;
  /** What is kept of the artifacts of builds. Default: everything, until somebody deletes it. */
  readonly retention?: RetentionPolicy;
  /** Stored bytes that are read again and verified each day, oldest proof first. Default: none. */
  readonly scrubBytesPerDay?: number;
  /** How resources are reached; of each sort the first is the default for new resources. */
  readonly connectors?: GivenConnectors;
  /**
   * A say in which resource is taken. All processes of a lab should have the same: whichever frees a
   * resource decides who gets it.
   */
  readonly strategies?: readonly SelectionStrategy[];
  /**
   * Where alerts go besides the event feed, such as `webhookNotifier()` and `emailNotifier()`. They are told by
   * the processes that do the lab's work: give all of those the same ones. The lab disposes of them.
   */
  readonly notifiers?: readonly Notifier[];
  /** What this process does for the lab from the start, see {@link Lab.start}. Default: everything; `[]`: it only looks and submits. */
  readonly roles?: readonly Role[];
  /** Default: silent. */
  readonly logger?: Logger;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: the runtime's randomness. */
  readonly random?: Random;
  /** Hears of bytes on the move, for progress bars. */
  readonly onTransfer?: (report: TransferReport) => void;
}

/**
 * A lab. Dispose of it to end it: work that is under way is handed back and goes on when the lab is
 * opened again; nothing is cancelled.
 */
export interface Lab extends AsyncDisposable {
  readonly buildServers: BuildServerService;
  readonly hosts: HostService;
  readonly boards: BoardService;
  readonly builds: BuildJobManager;
  readonly artifacts: ArtifactRepository;
  readonly deployments: DeploymentManager;
  readonly environments: EnvironmentService;
  /** The VMs that were deployed: reset, NMI, screenshot. */
  readonly vms: VmService;
  /** What the lab hears on consoles, for any number of watchers. */
  readonly consoles: ConsoleService;
  readonly workloads: WorkloadService;
  readonly flash: FlashManager;
  readonly testRuns: TestRunManager;
  readonly pipelines: PipelineManager;
  /** Groups of resources, and what they decide over their members. */
  readonly groups: ResourceGroupService;
  readonly power: PowerService;
  readonly health: HealthMonitorService;
  readonly alerts: AlertService;
  readonly maintenance: MaintenanceService;
  readonly events: EventFeed;
  readonly selection: SelectionService;
  readonly reservations: ReservationService;
  /** The lab's numbers, for Prometheus; OpenTelemetry is told by itself. */
  readonly metrics: MetricsService;
  /**
   * Whether the lab itself is well, as seen from this process: its database, its work, its watch over the resources,
   * its artifact storage, and what to do about what is not. Does not fail because something is wrong.
   */
  getStatus(): Promise<LabStatus>;
  /**
   * All that helps to find out what is wrong with a resource of any kind: its state, how to get there, who holds it,
   * alerts, what happened to it, what failed on it and what that said last.
   * @throws `not-found`.
   */
  diagnose(id: string): Promise<Diagnosis>;
  /**
   * Takes on roles besides those that this process has; all of them by default. Any number of processes share the
   * work of a role, and what one held that dies is taken over by another that has the role.
   * @throws `invalid-input` on a role that there is none of.
   */
  start(options?: { readonly roles?: readonly Role[] }): Promise<void>;
}

/**
 * Opens a lab: the one place where its parts are put together.
 * @throws `store-failed` when the database can't be opened.
 */
export async function openLab(options: LabOptions): Promise<Lab> {
  const { clock = systemClock, random = systemRandom, logger = silentLogger } = options;
  const onTransfer = options.onTransfer ?? (() => undefined);
  await using stack = new Cleanup();
  const telemetry = await loadTelemetry();
  const meter = new CallMeter(telemetry, clock);
  const store = stack.use(await Store.open(options.store ?? sqlite(), clock));
  const connectors = stack.use(new Connectors(options.connectors, meter));
  const events = stack.use(new EventFeed({ store, clock, logger }));
  const figures = new Figures({ store, events, clock });
  stack.use(telemetry.observe(figureGauges, () => figures.read()));
  const work = new WorkEngine({ store, clock, random, logger, telemetry });
  const storage = meter.connector('artifact_storage', options.artifacts);
  const artifacts = new ArtifactRepository({
    store,
    storage,
    clock,
    random,
    ...(options.retention !== undefined && { retention: options.retention }),
  });
  const strategies = new Strategies(options.strategies ?? [], logger);
  const admissions = new Admissions([new Policies(clock, random), strategies]);
  const waiting = new WaitingList(store, clock, admissions);
  const selection = new Selection({ store, clock, random, admissions, waiting, strategies });
  const pool = { store, clock, random, logger, connectors };
  const serverPool = new Pool(pool, buildServerKind);
  const hostPool = new Pool(pool, hostKind);
  const boardPool = new Pool(pool, boardKind);
  const host = (id: string) => hostPool.stored(id);
  const board = (id: string) => boardPool.get(id);

  const labId = await labIdentity(store, { clock, random });
  const parts = { store, clock, random, connectors, selection, artifacts, labId, host, board, onTransfer };
  const targets = { qemu_host: new VmTarget(parts), physical_board: stack.use(new BoardTarget(parts)) };
  const { logs } = work;
  work.register(
    new BuildHandler({
      connectors,
      selection,
      artifacts,
      logs,
      random,
      onTransfer,
      buildServer: (id) => serverPool.stored(id),
      activeBuilds: (id) => serverPool.holders(id),
    }),
  );
  work.register(new DeploymentHandler(parts, targets));
  work.register(new FlashHandler(parts));
  work.register(new BootHandler(parts, logs, targets));
  work.register(new ReleaseHandler(store, targets, random));
  work.register(new TestRunHandler({ store, connectors, artifacts, logs, targets, board }));
  work.registerFlow(new PipelineFlow());
  const freeConsole = (boardId: string): Promise<void> => targets.physical_board.freeConsole(boardId);
  work.register(new PowerHandler({ connectors, random, board, freeConsole }));
  watchInterventions(store, clock);
  watchGroups(store);
  const notifiers = (options.notifiers ?? []).map((notifier) => meter.connector('notifier', notifier));
  for (const notifier of notifiers) stack.use(notifier);
  work.register(new NotificationHandler({ notifiers, random }));
  tellOfAlerts(store, { clock, random });
  alertOfFailedWork(store, { clock, random });
  alertOfStorage(store, { clock, random });
  const power = new PowerService({ store, work, connectors, clock, random, board });

  const recover: StartRecovery = (tx, id, reason) => startRecovery(tx, id, reason, { clock, random });
  const monitoring = { store, connectors, clock, random, logger, recover };
  const monitor = stack.use(new Monitor(monitoring));
  const openedAt = clock.now();
  const maintenance = new MaintenanceService({ store, clock, random });
  stack.use(work);
  const { scrubBytesPerDay } = options;
  const housekeeper = { artifacts, store, clock, logger, ...(scrubBytesPerDay !== undefined && { scrubBytesPerDay }) };
  const onlineHosts = async () => (await hostPool.list()).filter(({ status }) => status === 'online');
  const onlineServers = async () => (await serverPool.list()).filter(({ status }) => status === 'online');
  const looking = { store, connectors, clock, random, logger, labId };
  const orphans = { ...looking, hosts: onlineHosts, servers: onlineServers };
  const leftBehind: readonly Omit<Chore, 'pauseMs'>[] = [
    {
      what: 'looking for boards that nobody goes on with',
      act: () => releaseAbandonedBoards(store, { clock, random }),
    },
    { what: 'looking for VMs that nobody knows', act: (signal) => reapOrphans(orphans, signal) },
    { what: 'looking for builds that nobody waits for', act: (signal) => removeLeftBuilds(orphans, signal) },
    { what: 'tidying up deployed files', act: (signal) => tidyHostFiles(orphans, signal) },
  ];
  const far = new FarTimes(clock);
  const shared = (name: string, periodMs: number): SharedChore => new SharedChore({ store, clock, name, periodMs });
  const sweeping = shared('orphans', limits.orphanSweepMs);
  const forgetting = shared('forget policy decisions', limits.policySweepMs);
  const chores: readonly Chore[] = [
    { what: 'looking after maintenance', pauseMs: limits.heartbeatMs, act: () => maintenance.tend() },
    {
      what: 'looking after reservations',
      pauseMs: limits.heartbeatMs,
      act: () => keepReservations(store, work, clock, far),
    },
    {
      what: 'looking for what was left behind',
      pauseMs: limits.heartbeatMs,
      act: (signal) => sweep(leftBehind, { turn: sweeping, logger }, signal),
    },
    { what: 'looking after policies', pauseMs: limits.heartbeatMs, act: () => tendPolicies(store, clock, forgetting) },
    { what: 'forgetting old alerts', pauseMs: limits.alertSweepMs, act: () => forgetOldAlerts(store, clock.now()) },
  ];
  const builds = new BuildJobManager({ store, work, artifacts, clock, buildServer: (id) => serverPool.stored(id) });
  const owned = stack.move();
  const taken = new Set<Role>();
  const status = new StatusService({
    store,
    events,
    work,
    monitor,
    storage,
    tally: telemetry.tally,
    clock,
    openedAt,
    roles: () => roles.filter((role) => taken.has(role)),
  });
  const start = async (wanted: readonly Role[] = roles): Promise<void> => {
    const added = checkRoles(wanted).filter((role) => !taken.has(role));
    for (const role of added) taken.add(role);
    work.start(added.flatMap((role) => workOf[role]));
    if (added.includes('recovery')) {
      owned.use(new ArtifactHousekeeper(housekeeper));
      for (const chore of chores) owned.use(regularly(chore, { clock, logger }));
    }
    if (added.includes('health')) await monitor.start();
  };
  try {
    // Whoever opens the lab as a part of a trace is not what its work is a part of.
    await telemetry.apart(() => start(options.roles));
  } catch (error) {
    await owned[Symbol.asyncDispose]();
    throw error;
  }
  const deployments = new DeploymentManager({ store, work, clock, artifacts, targets });
  const flash = new FlashManager({ store, work, connectors, artifacts, board });
  const environments = new EnvironmentService({ store, work, clock, deployments, connectors, host, board });
  const workloads = new WorkloadService({ store, work, environments });
  const decommission = decommissioning({ workloads, clock, logger });
  return {
    buildServers: buildServers(
      pool,
      serverPool,
      {
        byIds: (ids) => existing(ids.map((id) => builds.getBuildStatus(id))),
        ofServer: (serverId) => builds.getBuildHistory({ serverId }),
      },
      decommission,
    ),
    hosts: hosts(connectors, hostPool, decommission),
    boards: boards(
      boardPool,
      {
        powerCycle: (id, options) => power.powerCycle(id, options),
        flashFirmware: (id, request) => flash.flashFirmware(id, request),
      },
      decommission,
    ),
    builds,
    artifacts,
    deployments,
    environments,
    vms: new VmService({ store, clock, connectors, host }),
    consoles: new ConsoleService({ store, work }),
    workloads,
    flash,
    testRuns: new TestRunManager({ store, work, artifacts }),
    pipelines: new PipelineManager({ store, work }),
    groups: new ResourceGroupService({ store, clock, random }),
    power,
    health: healthService(monitoring, monitor),
    alerts: new AlertService({ store, clock, random }),
    maintenance,
    events,
    selection: selectionService(
      { store, clock, selection },
      { buildServer: serverPool, host: hostPool, board: boardPool },
    ),
    reservations: new ReservationService({ store, clock, random, selection }),
    metrics: metricsService(telemetry.tally, figures),
    getStatus: () => status.get(),
    diagnose: (id) =>
      diagnose({ store, logs, work: { failedOn: (resourceId, limit) => failedOn(store, resourceId, limit) } }, id),
    start: (wanted = {}) => telemetry.apart(() => start(wanted.roles)),
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}

const rolesSchema = v.object({ roles: v.array(v.picklist(roles, `is one of ${roles.join(', ')}`)) });

function checkRoles(wanted: readonly Role[]): readonly Role[] {
  return validate('roles', rolesSchema, { roles: wanted }).roles;
}

/** Those that are there. */
async function existing<T>(lookups: readonly Promise<T>[]): Promise<T[]> {
  const found = await Promise.all(
    lookups.map((lookup) =>
      lookup.catch((error: unknown) => {
        if (isBringupError(error, 'not-found')) return undefined;
        throw error;
      }),
    ),
  );
  return found.filter((entry) => entry !== undefined);
}
