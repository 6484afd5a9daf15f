import type { Random } from '@bringup/core';
import type { FakeClock, MemoryLab, MemoryNetwork } from '@bringup/core/testing';
import type { History } from './history.ts';
import type { Plan } from './plan.ts';

/** Something that waits for the n-th statement or call of a controller. */
export interface Trap {
  readonly at: number;
  /** Counts calls of that name alone. */
  readonly name?: string;
  readonly when?: 'before' | 'after';
  readonly spring: () => void;
}

/** A controller as those see it who ask it for something, or do something to it. */
export interface Actor {
  readonly traps: { readonly statement: Trap[]; readonly call: Trap[] };
  /** Statements, from one on, that find the disk full. */
  full: { from: number; times: number } | undefined;
  /** Word of commits does not reach it. */
  deaf: boolean;
  /** How far its clock is ahead. */
  readonly aheadMs: number;
  /** The lab as it is open in this process, unless it is dead. */
  readonly lab: MemoryLab | undefined;
  crash(downMs: number): void;
  pause(forMs: number): void;
  jump(byMs: number): void;
  loseStore(forMs: number): void;
}

/** Where a run takes place. */
export interface Stage {
  readonly plan: Plan;
  readonly clock: FakeClock;
  readonly history: History;
  readonly network: MemoryNetwork;
  /** Decides what is nobody's plan: delays, lost words. */
  readonly luck: Random;
  /** The lab as somebody sees it who does no work and whom nothing happens to; and its machines. */
  readonly world: MemoryLab;
  readonly controllers: readonly Actor[];
  readonly listeners: Set<{ readonly index: number; readonly heard: () => void }>;
  /** Who ran the last statement. */
  actor: string;
  /** Whether everything was put right: nothing goes wrong from then on. */
  readonly healed: boolean;
  /** Word of a commit of one controller, to all others. */
  tell(from: number): void;
}
