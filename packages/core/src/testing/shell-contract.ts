import type { ForwardTarget, ShellConnector, ShellTarget } from '../contracts/shell.ts';
import { commandContract } from './shell-contract-commands.ts';
import { ShellHarness } from './shell-contract-harness.ts';
import { lifetimeContract } from './shell-contract-lifetime.ts';
import { processContract } from './shell-contract-processes.ts';
import { transferContract } from './shell-contract-transfers.ts';
import { testFramework } from './test-framework.ts';

/** One target to run the suite against, and what it can do. */
export interface ShellContractFixture {
  readonly connector: ShellConnector;
  readonly target: ShellTarget;
  /** An absolute path on the target, without symbolic links, of an empty folder for this suite. */
  readonly scratchDir: string;
  /** Whether the target has a POSIX `sh`: the suite then runs scripts too. */
  readonly hasPosixSh: boolean;
  /** A server on the target's side that sends back what it gets, and ends when its peer has. */
  readonly echoServer?: ForwardTarget;
  /** Cuts all connections of the connector, as a network that goes away does. */
  readonly dropConnection?: () => void | Promise<void>;
  /** Takes everything down, the connector included. */
  readonly dispose: () => PromiseLike<void>;
}

/** What {@link shellContract} is given. */
export interface ShellContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Called once for the suite, and once more for the tests that dispose the connector. */
  readonly setup: () => Promise<ShellContractFixture>;
}

/**
 * Registers the vitest suite that every {@link ShellConnector} passes: what the contract says about
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
