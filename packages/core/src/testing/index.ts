/**
 * A whole lab in memory for the tests of programs that use the SDK ({@link memoryLab}), its parts one
 * by one, and the contract suites that every connector must pass.
 *
 * @module @bringup/core/testing
 */
export { fakeClock, type FakeClock, type FakeClockOptions, type PendingTimer } from './clock.ts';
export { seededRandom } from './random.ts';
export { shellContract } from './shell-contract.ts';
export type { ShellContractFixture, ShellContractOptions } from './shell-contract-fixture.ts';
export { hypervisorContract } from './hypervisor-contract.ts';
export type { HypervisorContractFixture, HypervisorContractOptions } from './hypervisor-contract-fixture.ts';
export { tinyGuest, tinyGuestImage } from '../local/tiny-guest.ts';
export { ConsoleReader } from './console-reader.ts';
export { MemoryLine, type MemoryConsole } from './memory-console.ts';
export { memoryConsole, MemoryConsoleConnector, type MemoryConsoleOptions } from './memory-console-connector.ts';
export { consoleContract, type ConsoleContractFixture, type ConsoleContractOptions } from './console-contract.ts';
export type { MemoryBoard } from './memory-board.ts';
export { memoryGuests, type MemoryBoot, type MemoryGuest } from './memory-guest.ts';
export { memoryHypervisor, MemoryHypervisorConnector, type MemoryHypervisorOptions } from './memory-hypervisor.ts';
export type { MemoryHypervisorHost } from './memory-hypervisor-host.ts';
export type { MemoryHypervisorCall } from './memory-hypervisor-session.ts';
export { memoryShell, type MemoryShell, type MemoryShellOptions } from './memory-shell.ts';
export type { MemoryFaults, MemoryHost } from './memory-host.ts';
export type { MemoryCommand, MemoryCommandContext, MemoryOutput, MemoryRunOptions } from './memory-process.ts';
export { MemoryFileError, type MemoryFileInfo, MemoryFileSystem } from './memory-file-system.ts';
export {
  artifactStorageContract,
  type ArtifactStorageContractFixture,
  type ArtifactStorageContractOptions,
} from './artifact-storage-contract.ts';
export {
  memoryArtifactStorage,
  type MemoryArtifactStorage,
  type MemoryArtifactStorageOptions,
} from './memory-artifact-storage.ts';
export { cutInKernelMessages, renderTap, type KernelMessage, type RenderTapOptions } from './tap-render.ts';
export { memoryNotifier, MemoryNotifier, type MemoryNotifierOptions } from './memory-notifier.ts';
export { notifierContract, type NotifierContractFixture, type NotifierContractOptions } from './notifier-contract.ts';
export { memoryPower, MemoryPowerOutlet, type MemoryPowerOptions } from './memory-power.ts';
export {
  memoryPowerConnector,
  MemoryPowerConnector,
  type MemoryPowerConnectorOptions,
} from './memory-power-connector.ts';
export { powerContract, type PowerContractFixture, type PowerContractOptions } from './power-contract.ts';
export { memoryFlash, MemoryFlashStation, type MemoryFlashOptions } from './memory-flash.ts';
export {
  memoryFlashConnector,
  MemoryFlashConnector,
  type MemoryFlashConnectorOptions,
} from './memory-flash-connector.ts';
export { flashContract, type FlashContractFixture, type FlashContractOptions } from './flash-contract.ts';
export {
  memoryLab,
  type MemoryBoardOptions,
  type MemoryHostOptions,
  type MemoryLab,
  type MemoryProcessOptions,
  type MemoryLabOptions,
  type MemoryServerOptions,
} from './memory-lab.ts';
export { plainMemoryBuild, type MemoryBuild, type MemoryBuildFunction, type MemoryRepository } from './memory-build.ts';
export type { MemoryMachine, MemoryToolchain } from './memory-machine.ts';
export { labArbitraries, type LabArbitraries } from './arbitraries.ts';
export { MemoryDatabase, sqliteError, type MemoryAccessOptions, type MemoryDatabaseAccess } from './memory-store.ts';
export { MemoryController, type MemoryControllerOptions } from './memory-controller.ts';
export { MemoryNetwork, type CutKind, type MemoryCallMoment, type MemoryNetworkOptions } from './memory-network.ts';
export type { MemoryCall, MemoryLink, NetworkProcess } from './memory-link.ts';
