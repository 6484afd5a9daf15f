import type { MemoryLab } from '@bringup/core/testing';
import type { AuditEntry } from './audit.ts';
import type { SimulationDatabase } from './database.ts';
import type { History } from './history.ts';
import type { Scenery } from './machines.ts';
import type { Plan } from './plan.ts';

/** What a run was, for the checkers. */
export interface Outcome {
  readonly plan: Plan;
  readonly history: History;
  readonly audit: readonly AuditEntry[];
  readonly scenery: Scenery;
  readonly world: MemoryLab;
  readonly database: SimulationDatabase;
  /** What did not come to its end although nothing went wrong any more. */
  readonly unfinished: readonly string[];
  /** Simulated time that it took. */
  readonly elapsedMs: number;
  /** Errors that nobody waited for: they would have ended a real process. */
  readonly unhandled: readonly string[];
}

/** A promise that was broken. */
export interface Violation {
  readonly check: string;
  readonly message: string;
}

/** Says that something was not as it must be. */
export type Report = (message: string) => void;
