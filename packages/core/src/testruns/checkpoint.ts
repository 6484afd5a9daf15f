import type { StoredError } from '../errors.ts';
import type { CommandResult } from './command-results.ts';

/** How far a test run has come. */
export interface TestRunCheckpoint {
  /** Results of the commands that are done. */
  readonly done: readonly CommandResult[];
  /** Where the output of the command that runs now begins in the log. */
  readonly logStart?: number;
  /** Where what the board said since it was booted anew for these tests begins in the log. */
  readonly heardFrom?: number;
  /** It is being booted anew: it may be without power. */
  readonly restarting?: boolean;
  /** The board hung: what it will have failed with once the board was dealt with. */
  readonly hung?: StoredError;
}
