import type { Generated } from 'kysely';

/** What belongs to the lab as a whole. */
export interface StoreTables {
  events: EventRow;
  chores: ChoreRow;
  facts: FactRow;
  conditions: ConditionRow;
}

/** One entry of the event feed. */
export interface EventRow {
  seq: Generated<number>;
  at: number;
  name: string;
  subject: string;
  data: string;
}

/** Something done again and again, by one process at a time: the one that moves its time on. */
export interface ChoreRow {
  name: string;
  due_at: number;
}

/** Something about the lab as a whole that never changes, such as its id. */
export interface FactRow {
  name: string;
  value: string;
}

/** A state of the lab as a whole that lasts, such as a full artifact storage. */
export interface ConditionRow {
  name: string;
  since: number;
  details: string;
}
