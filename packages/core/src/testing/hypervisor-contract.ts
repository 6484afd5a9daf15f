import { hypervisorConsoleContract } from './hypervisor-contract-consoles.ts';
import { hypervisorControlContract } from './hypervisor-contract-control.ts';
import type { HypervisorContractOptions } from './hypervisor-contract-fixture.ts';
import { HypervisorHarness } from './hypervisor-contract-harness.ts';
import { hypervisorLifeContract } from './hypervisor-contract-life.ts';
import { testFramework } from './test-framework.ts';

/**
 * Registers the vitest suite that every `Hypervisor` passes: the life of a VM, its console
 * from the first byte on, what outlives a session, events, reset, NMI and screenshots, typed errors.
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
    hypervisorControlContract(harness);
  });
}
