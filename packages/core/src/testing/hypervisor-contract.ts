import type { Hypervisor, VmSpec } from '../contracts/hypervisor.ts';
import { hypervisorConsoleContract } from './hypervisor-contract-consoles.ts';
import { HypervisorHarness } from './hypervisor-contract-harness.ts';
import { hypervisorLifeContract } from './hypervisor-contract-life.ts';
import { testFramework } from './test-framework.ts';

/** One host to run the suite against, and the guest it boots. */
export interface HypervisorContractFixture {
  /** A new session with the host. Every session sees the same VMs. */
  readonly connect: () => Promise<Hypervisor>;
  /**
   * A VM that boots the guest; the suite fills in name, tags and command line. The guest prints one
   * line that begins with `greeting` and ends with its command line, sends back every byte it gets
   * and stops its VM on `quit`: {@link tinyGuestImage} does, on real x86 hypervisors.
   */
  readonly spec: Omit<VmSpec, 'name' | 'tags' | 'commandLine'>;
  readonly greeting: string;
  readonly quit: string;
  /** Takes everything down. */
  readonly dispose: () => Promise<void>;
}

/** What {@link hypervisorContract} is given. */
export interface HypervisorContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called once for the suite. */
  readonly setup: () => Promise<HypervisorContractFixture>;
}

/**
 * Registers the vitest suite that every {@link Hypervisor} passes: the life of a VM, its console
 * from the first byte on, what outlives a session, events, typed errors.
 * @throws `dependency-missing` outside a vitest run.
 */
export function hypervisorContract({ name, setup }: HypervisorContractOptions): void {
  const { vitest } = testFramework();
  vitest.describe(`hypervisor contract: ${name}`, () => {
    const harness = new HypervisorHarness(setup);
    vitest.beforeAll(() => harness.start(), 60_000);
    vitest.afterEach(() => harness.cleanUp());
    vitest.afterAll(() => harness.stop(), 60_000);
    hypervisorLifeContract(harness);
    hypervisorConsoleContract(harness);
  });
}
