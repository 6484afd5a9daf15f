import { MemoryDatabase, memoryLab } from '@bringup/core/testing';
import { auditDatabase } from './audit.ts';

/** What the audit asks while a run is under way. */
export interface Witness {
  readonly who: () => string;
  readonly now: () => number;
}

/**
 * One database for all runs of a process, emptied before each: its schema is made once, and so are its
 * prepared statements.
 */
export class SimulationDatabase {
  readonly memory: MemoryDatabase;
  readonly #tables: readonly string[];
  readonly #witness: { current: Witness };

  private constructor(memory: MemoryDatabase, witness: { current: Witness }) {
    this.memory = memory;
    this.#witness = witness;
    this.#tables = memory.raw
      .prepare(
        "select name from sqlite_schema where type = 'table' and name not like 'sqlite_%' and name not like 'kysely_%'",
      )
      .all()
      .map(({ name }) => String(name));
  }

  static async open(): Promise<SimulationDatabase> {
    const memory = await MemoryDatabase.open();
    const lab = await memoryLab({ database: memory, roles: [] });
    await lab[Symbol.asyncDispose]();
    const witness: { current: Witness } = { current: { who: () => '', now: () => 0 } };
    auditDatabase(
      memory,
      () => witness.current.who(),
      () => witness.current.now(),
    );
    return new SimulationDatabase(memory, witness);
  }

  /** Empties it for a run. */
  reset(witness: Witness): void {
    const { raw } = this.memory;
    this.#witness.current = witness;
    if (raw.isTransaction) raw.exec('rollback');
    raw.exec('pragma foreign_keys = off');
    for (const table of this.#tables) if (table !== 'sim_audit') raw.exec(`delete from "${table}"`);
    raw.exec('delete from sim_audit');
    raw.exec('delete from sqlite_sequence');
    raw.exec('pragma foreign_keys = on');
  }

  /** Rows of a query, for the simulation's own eyes. */
  rows(sql: string, ...values: (string | number)[]): Record<string, unknown>[] {
    return this.memory.raw.prepare(sql).all(...values);
  }
}
