import type { ForwardTarget, ShellConnector, ShellTarget } from '../contracts/shell.ts';

/** One target to run the suite against, and what it can do. */
export interface ShellContractFixture {
  readonly connector: ShellConnector;
  readonly target: ShellTarget;
  /** An absolute path on the target, without symbolic links, of an empty folder for this suite. */
  readonly scratchDir: string;
  /** A server on the target's side that sends back what it gets, and ends when its peer has. */
  readonly echoServer?: ForwardTarget;
  /** Cuts all connections of the connector, as a network that goes away does. */
  readonly dropConnection?: () => void | Promise<void>;
  /** Takes everything down, the connector included. */
  readonly dispose: () => PromiseLike<void>;
}

/**
 * What a fixture may lack: a POSIX `sh` on the target, an `echoServer`, `dropConnection`.
 */
export type ShellAbility = 'posix-sh' | 'echo-server' | 'drop-connection';

/** What `shellContract` is given. */
export interface ShellContractOptions {
  /** The implementation, in the suite's title. */
  readonly name: string;
  /** Tests that need one of these are left out. Default: none. */
  readonly lacks?: readonly ShellAbility[];
  /** Called once for the suite, and once more for the tests that dispose the connector. */
  readonly setup: () => Promise<ShellContractFixture>;
}
