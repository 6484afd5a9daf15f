import { commandContract } from './shell-contract-commands.ts';
import type { ShellContractOptions } from './shell-contract-fixture.ts';
import { ShellHarness } from './shell-contract-harness.ts';
import { lifetimeContract } from './shell-contract-lifetime.ts';
import { processContract } from './shell-contract-processes.ts';
import { transferContract } from './shell-contract-transfers.ts';
import { resumedDownloadContract } from './shell-contract-resume.ts';
import { testFramework } from './test-framework.ts';

/**
 * Registers the vitest suite that every `ShellConnector` passes: what the contract says about
 * argv, streams, signals, limits, transfers, forwarding and lost connections.
 *
 * Beside scripts (only with a POSIX `sh`) it runs `true false printf cat sleep env pwd sha256sum
 * mkdir ls test`. Tests of what the fixture `lacks` are left out.
 * @throws `dependency-missing` outside a vitest run.
 */
export function shellContract(options: ShellContractOptions): void {
  const { vitest } = testFramework();
  vitest.describe(`shell contract: ${options.name}`, () => {
    const harness = new ShellHarness(options);
    vitest.beforeAll(() => harness.start(), 60_000);
    vitest.afterEach(() => harness.disposeSessions());
    vitest.afterAll(() => harness.stop(), 60_000);
    commandContract(harness);
    processContract(harness);
    transferContract(harness);
    resumedDownloadContract(harness);
    lifetimeContract(harness);
  });
}
