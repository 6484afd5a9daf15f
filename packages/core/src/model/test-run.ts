import type { HangPolicy } from './power.ts';

/** What is done when the target hangs: when the tests do not end in time. */
export interface HangHandling {
  /** For boards. Default `power-cycle`: it is off, then on, and watched until it answers; the tests have failed. */
  readonly hangPolicy?: HangPolicy;
}

/**
 * Results that the machine prints on its console by itself, as KUnit and kselftest do at boot. A board's line has no history: where
 * nobody has listened since its boot, or the way to it broke, its power is cycled, and what it prints then counts.
 */
export interface ConsoleTests extends HangHandling {
  readonly from: 'console';
  /**
   * The run ends when the console ends, or when all planned results are there and nothing more was
   * said for this long. Default 2 s.
   */
  readonly quietMs?: number;
  /** Default 1 h. */
  readonly timeoutMs?: number;
}

/** Commands given to a shell on the console. Each prints KTAP or TAP, or just exits. */
export interface ShellTests extends HangHandling {
  readonly from: 'console-shell';
  readonly commands: readonly TestCommand[];
  /** Account to log in as when the machine asks. Default `root`. */
  readonly username?: string;
  readonly timeoutMs?: number;
}

/** Commands run over the shell connector (SSH) on the booted target. */
export interface RemoteTests extends HangHandling {
  readonly from: 'shell';
  /** Where the target listens. Default: the board itself; of a VM it must be said. */
  readonly target?: {
    /** Name of the shell connector. Default: the first one the lab was given. */
    readonly shell?: string;
    readonly hostname: string;
    readonly ipAddress?: string;
    readonly sshPort?: number;
    readonly sshUsername?: string;
    readonly sshKeyPath?: string;
  };
  readonly commands: readonly TestCommand[];
  readonly timeoutMs?: number;
}

/** One test command. */
export interface TestCommand {
  readonly name: string;
  readonly argv: readonly string[];
  /** How its results are read: its KTAP/TAP output, or its exit status alone. Default `auto`: TAP if it prints any. */
  readonly results?: 'auto' | 'tap' | 'exit-status';
}

/** Where a test run's results come from. */
export type TestConfig = ConsoleTests | ShellTests | RemoteTests;

/** State of a test run. `completed`: every planned test ran and none failed. */
export type TestRunStatus = 'queued' | 'running' | 'completed' | 'failed' | 'cancelled';
