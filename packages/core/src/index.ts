/**
 * Kernel and BSP test labs as a library. {@link createLab} opens a lab; everything else is reached from there,
 * or is given to it.
 *
 * @module @bringup/core
 */
export { createLab } from './create-lab.ts';
export type { Lab, LabOptions } from './lab.ts';
export { sqlite, type SqliteOptions } from './store/sqlite-provider.ts';
export { postgres, type PostgresOptions } from './store/postgres-provider.ts';
export type { CommitSignal, StoreProvider, OpenedDatabase } from './store/provider.ts';
export type { Topic } from './store/topics.ts';
export type { StoreFlavor } from './store/flavor.ts';
export type { EventFeed, ReadEventsOptions } from './store/feed.ts';
export type { EventMap, EventName, LabEvent, TransferReport, VmActionEvent, WorkEvent, WorkVerb } from './events.ts';
export type {
  BuildServerDetail,
  DecommissionOptions,
  BuildServerService,
  BoardService,
  HostService,
  PowerCycleOptions,
} from './pool/services.ts';
export type { ResourceGroupService } from './pool/groups.ts';
export type {
  AllocationPolicy,
  GroupAmounts,
  GroupApproval,
  GroupStatistics,
  PolicyDecision,
  ResourceGroup,
  ResourceGroupRequest,
} from './model/group.ts';
export type { Diagnosis, FailedWork, ResourceAccess } from './pool/diagnosis.ts';
export type { GivenConnectors } from './pool/connectors.ts';
export type { MaintenanceListOptions, MaintenanceService } from './pool/maintenance.ts';
export type {
  MaintenanceCapacity,
  MaintenanceRequest,
  MaintenanceState,
  MaintenanceWindow,
} from './model/maintenance.ts';
export type { LabCondition, LabStatus, LabTrouble } from './model/lab-status.ts';
export type { MetricsService } from './status/metrics.ts';
export type { HistoryOptions, ListOptions } from './model/page.ts';
export type { BuildJobManager } from './builds/manager.ts';
export type { BuildStatisticsFilter } from './builds/statistics.ts';
export type { ArtifactFile, ArtifactRepository, SelectedBuild } from './artifacts/repository.ts';
export type { FullStorage } from './artifacts/room.ts';
export type { DeploymentManager } from './deployments/manager.ts';
export type { VmCallOptions, VmControlOptions, VmRef, VmService } from './deployments/vm-service.ts';
export type { VmAction } from './model/vm.ts';
export type { FirmwareVerification, FlashManager } from './deployments/flash-manager.ts';
export type {
  ConsolePiece,
  ConsolePlace,
  ConsoleRef,
  ConsoleService,
  WatchOptions,
} from './environments/console-service.ts';
export type { EnvironmentService, ListEnvironmentsOptions } from './environments/service.ts';
export type { Workload, WorkloadService } from './environments/workloads.ts';
export type { TestRun, TestRunManager } from './testruns/manager.ts';
export type { PipelineManager } from './pipelines/manager.ts';
export type {
  BoardSelectionResult,
  BoardSelectionStrategy,
  BuildServerSelectionResult,
  BuildServerSelectionStrategy,
  HostSelectionResult,
  HostSelectionStrategy,
  SelectionService,
} from './selection/services.ts';
export type { Offer, SelectionResult } from './selection/resource-selection.ts';
export type {
  RequestOptions,
  ReservationListOptions,
  ReserveOptions,
  SelectOptions,
  WaitingListOptions,
} from './selection/options.ts';
export type { Compatible } from './selection/offers.ts';
export type { BuildTimeEstimate, BuildTimeKey } from './selection/build-times.ts';
export type { ReservationService, WaitingRequest } from './selection/reservation-service.ts';
export type { SelectionFailure, SelectionOutcome, SelectionSuccess } from './selection/outcome.ts';
export {
  defaultStrategies,
  type CapacityFigures,
  type SelectionCandidate,
  type SelectionStrategy,
} from './selection/strategy.ts';
export { boardRequest, buildRequest, vmRequest } from './selection/requests.ts';
export type { CapacityRequest, RequiredTrait, Reservation } from './pool/reservations.ts';
export type { ReadLogOptions } from './work/logs.ts';
export type {
  Artifact,
  ArtifactSelection,
  ArtifactType,
  CleanupReport,
  RemovalReason,
  RetentionPolicy,
} from './model/artifact.ts';
export type {
  BuildConfig,
  BuildJob,
  BuildQueueStatus,
  BuildRecipe,
  BuildRequest,
  BuildResourceUse,
  BuildStatistics,
  BuildStatus,
  KernelBuildConfig,
  MakeBuildConfig,
  OutputDeclaration,
  RecipeBase,
  ScriptBuildConfig,
} from './model/build.ts';
export type {
  BoardDeploymentRequest,
  BootConfig,
  BootPattern,
  BootReport,
  Deployment,
  DeploymentRequestBase,
  DeploymentStatus,
  DeploymentTargetType,
  FlashSlot,
  QemuDeploymentRequest,
  VerificationCheck,
  VerificationReport,
  VmConfig,
} from './model/deployment.ts';
export type {
  Environment,
  EnvironmentAccess,
  EnvironmentOwner,
  EnvironmentRequest,
  EnvironmentStatus,
  InspectedEnvironment,
} from './model/environment.ts';
export type { FirmwareRecord, Flash, FlashPart, FlashRequest, FlashStatus } from './model/flash.ts';
export type {
  EnvironmentConfig,
  EnvironmentType,
  Pipeline,
  PipelineRequest,
  PipelineStage,
  PipelineStatistics,
  PipelineStatisticsOptions,
  PipelineStatus,
  StageName,
  StageStatistics,
} from './model/pipeline.ts';
export type {
  BoardRequirements,
  BuildRequirements,
  Rejection,
  RequirementsBase,
  ScoredCandidate,
  UnmetRequirement,
  VmRequirements,
} from './model/requirements.ts';
export type {
  Board,
  BoardAttachments,
  BoardRegistration,
  BoardStatus,
  BuildServer,
  BuildServerCapacity,
  BuildServerRegistration,
  Changes,
  Connection,
  Host,
  HostCapacity,
  HostRegistration,
  MinimumResources,
  NetworkInterface,
  Resource,
  ResourceBase,
  ResourceKind,
  ServerStatus,
  Toolchain,
  ToolchainClaim,
} from './model/resource.ts';
export type {
  ConsoleTests,
  HangHandling,
  RemoteTests,
  ShellTests,
  TestCommand,
  TestConfig,
  TestRunStatus,
} from './model/test-run.ts';
export { roles, type Role } from './model/role.ts';
export type { WorkItem, WorkKind, WorkState } from './model/work.ts';
export {
  BringupError,
  errorCodes,
  fromStoredError,
  invalidInput,
  isBringupError,
  toBringupError,
  type BringupErrorOptions,
  type ErrorCode,
  type ErrorDetails,
  type InputIssue,
  type JsonValue,
  type StoredError,
} from './errors.ts';
export type { CallOptions, Clock, Logger, Random, Timer } from './contracts/runtime.ts';
export type {
  ByteSource,
  DownloadOptions,
  ExecOptions,
  ExecResult,
  ExitStatus,
  ForwardTarget,
  ShellConnector,
  ShellProcess,
  ShellSession,
  ShellTarget,
  SpawnOptions,
  TransferOptions,
  TransferProgress,
  TransferReceipt,
  UploadOptions,
} from './contracts/shell.ts';
export type { Console, ConsoleConnector, ConsoleTarget } from './contracts/console.ts';
export type {
  Hypervisor,
  HypervisorCapabilities,
  HypervisorConnector,
  HypervisorTarget,
  OpenConsoleOptions,
  Screenshot,
  VmDisk,
  VmEvent,
  VmInfo,
  VmSpec,
  VmState,
} from './contracts/hypervisor.ts';
export type { ArtifactStorage, BlobInfo, GetBlobOptions, PutBlobOptions } from './contracts/artifact-storage.ts';
export type { PowerConnector, PowerOutlet, PowerSwitchOptions } from './contracts/power.ts';
export type {
  HangPolicy,
  PowerAction,
  PowerControlConfig,
  PowerEvent,
  PowerMethod,
  PowerResult,
  PowerSequence,
  PowerState,
  PowerStatus,
  PowerTrigger,
} from './model/power.ts';
export type { PowerService } from './power/service.ts';
export type { Notification, NotificationReason, Notifier } from './contracts/notifier.ts';
export { webhookNotifier, type WebhookBody, type WebhookOptions } from './notifiers/webhook.ts';
export { emailNotifier, type EmailOptions } from './notifiers/email.ts';
export type { AlertDelivery, AlertListOptions, AlertService, AlertStatistics } from './alerts/service.ts';
export type { Trouble } from './alerts/raise.ts';
export type { Alert, AlertSeverity, AlertState, AlertType } from './model/alert.ts';
export type { HealthMonitorService } from './health/service.ts';
export type {
  HealthCondition,
  HealthHistoryQuery,
  HealthReport,
  HealthResolution,
  HealthSample,
  HealthThresholds,
  ThresholdScope,
} from './model/health-watch.ts';
export type { BoardHealth, Connectivity, MachineHealth, ResourceUtilization } from './model/health.ts';
export type {
  FlashConnector,
  FlashExpectation,
  FlashImage,
  FlashOptions,
  FlashProof,
  FlashReceipt,
  FlashStation,
  FlashTarget,
} from './contracts/flash.ts';
export { architectureNames, architectures, type Architecture, type ArchitectureNames } from './model/architecture.ts';
export { argumentFault, argumentOfBytes, bytesOfArgument, textFault } from './model/argument.ts';
export { PartialDownload } from './model/partial-download.ts';
export { hideSecrets, Secret } from './model/secret.ts';
export { limits, type Limits } from './limits.ts';
export { abortedError, onAbort, throwIfAborted, untilQuiet, withDeadline, sleep, type Quiet } from './async.ts';
export { systemClock, systemRandom, silentLogger, newId } from './runtime.ts';
export { localShell, type LocalShellOptions } from './local/shell.ts';
export { fileSource, type FileSource, type FileSourceOptions } from './local/file-source.ts';
export { escapeXml, isXmlText } from './xml.ts';
export { ProgressReporter } from './local/progress.ts';
export { checkReceipt, checksumError } from './local/transfer-checks.ts';
export { diskBytes, diskHeaderBytes } from './local/disk-image.ts';
export { checkVmSpec, isVmName, isVmStuck, notRunning, vmStuck } from './local/vm-spec.ts';
export { s3ArtifactStorage, type S3ArtifactStorageOptions } from './artifacts/s3-storage.ts';
export type { S3ClientLike, S3Connection } from './artifacts/s3-client.ts';
export { fileArtifactStorage, type FileArtifactStorageOptions } from './artifacts/file-storage.ts';
export {
  BootWatch,
  watchBoot,
  bootError,
  type BootCriteria,
  type BootFacts,
  type BootOutcome,
  type BootWatchOptions,
} from './consoles/boot-watch.ts';
export type { FailureReport } from './consoles/failure-report.ts';
export { defaultSignatures, selectSignatures, type FailureKind, type FailureSignature } from './consoles/signatures.ts';
export { LineSplitter, type ConsoleLine } from './consoles/line-splitter.ts';
export { cleanConsoleText, parsePrintk, type PrintkLine } from './consoles/console-text.ts';
export {
  ConsoleSession,
  type ConsoleSessionOptions,
  type ExpectOptions,
  type ExpectOutcome,
} from './consoles/console-session.ts';
export {
  SharedConsole,
  type SharedConsoleOptions,
  type WatchConsoleOptions,
  type WatchedBytes,
} from './consoles/shared-console.ts';
export type { ByteTap } from './consoles/byte-tap.ts';
export type { ExpectMatch, PassedLine } from './consoles/expect.ts';
export {
  ConsoleShell,
  type ConsoleRunOptions,
  type ConsoleRunResult,
  type ConsoleShellOptions,
} from './consoles/console-shell.ts';
export {
  UBoot,
  quoteUBoot,
  ubootPrompt,
  type UBootLoaded,
  type UBootOptions,
  type UBootResult,
} from './consoles/uboot.ts';
export { ubootFlash, type UBootFlashOptions } from './consoles/uboot-flash.ts';
export type { UBootSlot } from './consoles/uboot-slot.ts';
export { parseBlockMap, type BlockMap, type BlockRange } from './model/block-map.ts';
export { netboot, type NetbootOptions } from './flashing/netboot.ts';
export { shellFlash, type ShellFlashOptions, type ShellFlashStation } from './flashing/shell-flash.ts';
export {
  rauc,
  swupdate,
  type BlockSlot,
  type RaucOptions,
  type SdMux,
  type ShellSlot,
  type SwupdateOptions,
  type UpdaterSlot,
} from './flashing/slots.ts';
export { tftpFolder, type TftpFolder, type TftpFolderOptions } from './consoles/tftp-folder.ts';
export type { ConsolePutOptions, ConsoleTransferReceipt } from './consoles/console-files.ts';
export type { ConsoleLogin } from './consoles/console-login.ts';
export type { Pattern } from './consoles/patterns.ts';
export { quoteShellCommand, quoteShellWord } from './consoles/quote.ts';
export { localQemu, type LocalQemuOptions } from './local/qemu.ts';
export { TapParser, parseTap, type TapParserOptions } from './testruns/tap-parser.ts';
export {
  countTests,
  countedTests,
  hasBadOutcome,
  isBadOutcome,
  type TestNode,
  type TestOutcome,
  type TestReport,
  type TestTotals,
} from './testruns/test-report.ts';
export { toJUnitXml, type JUnitOptions } from './testruns/junit.ts';
