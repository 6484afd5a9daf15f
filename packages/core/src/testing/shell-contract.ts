import { commandContract } from './shell-contract-commands.ts';
import type { ShellContractOptions } from './shell-contract-fixture.ts';
import { ShellHarness } from './shell-contract-harness.ts';
import { lifetimeContract } from './shell-contract-lifetime.ts';
import { processContract } from './shell-contract-processes.ts';
import { transferContract } from './shell-contract-transfers.ts';
import { testFramework } from './test-framework.ts';

/**
 * Registers the vitest suite that every `ShellConnector` passes: what the contract says about
 * argv, streams, signals, limits, transfers, forwarding and lost connections.
 *
 * Beside scripts (only with `hasPosixSh`) it runs `true false printf cat sleep env pwd sha256sum
 * mkdir ls test`. Tests of an ability the fixture does not have are skipped.
 * @throws `dependency-missing` outside a vitest run.
 */
export function shellContract({ name, setup }: ShellContractOptions): void {
  const { vitest } = testFramework();
  vitest.describe(`shell contract: ${name}`, () => {
    const harness = new ShellHarness(setup);
    vitest.beforeAll(() => harness.start(), 60_000);
    vitest.afterEach(() => harness.disposeSessions());
    vitest.afterAll(() => harness.stop(), 60_000);
    commandContract(harness);
    processContract(harness);
    transferContract(harness);
    lifetimeContract(harness);
  });
}
