import type { CommitSignal } from '@bringup/core';
import { seededRandom, sqliteError, type MemoryLab } from '@bringup/core/testing';
import type { Actor, Stage, Trap } from './stage.ts';

/** A process that opens the lab again and again, whatever is done to it. */
export class Controller implements Actor {
  readonly index: number;
  readonly traps: { readonly statement: Trap[]; readonly call: Trap[] } = { statement: [], call: [] };
  /** Statements, from one on, that find the disk full. */
  full: { from: number; times: number } | undefined;
  /** Word of commits does not reach it. */
  deaf = false;
  aheadMs = 0;
  /** Nothing that it asks the store gets there. */
  #storeAway = false;
  /** When it last asked the store something. */
  lookedAt = 0;
  readonly #simulation: Stage;
  #lab: MemoryLab | undefined;
  #life = 0;
  #statements = 0;
  /** Calls in all, and by their names. */
  #calls = 0;
  readonly #callsOf = new Map<string, number>();
  #opening = false;
  #ended = false;

  constructor(simulation: Stage, index: number) {
    this.#simulation = simulation;
    this.index = index;
  }

  get name(): string {
    return `c${this.index}#${this.#life}`;
  }

  /** The lab as it is open in this process, unless it is dead. */
  get lab(): MemoryLab | undefined {
    return this.#lab;
  }

  async open(): Promise<void> {
    if (this.#opening || this.#lab !== undefined || this.#ended) return;
    this.#opening = true;
    this.#life += 1;
    const { name } = this;
    const { seed, health } = this.#simulation.plan;
    let opened: MemoryLab | undefined;
    try {
      opened = await this.#simulation.world.join({
        name,
        roles: ['builds', 'deployments', 'recovery', ...(health ? ['health' as const] : [])],
        random: seededRandom(Math.imul(seed, 31) + this.index * 1009 + this.#life * 7919),
        signal: this.#signal(() => opened),
        onStatement: (sql, inTransaction) => this.#onStatement(name, opened, sql, inTransaction),
      });
      opened.process.jumpClock(this.aheadMs);
      this.#lab = opened;
      this.#simulation.history.add(name, 'opened');
    } catch (error) {
      this.#simulation.history.add(name, 'could not open', { error: String(error) });
      this.#simulation.clock.timer(1_000, () => void this.open());
    } finally {
      this.#opening = false;
    }
  }

  crash(downMs: number): void {
    const lab = this.#lab;
    if (lab === undefined) return;
    this.#simulation.history.add(this.name, 'crashed');
    this.#lab = undefined;
    void lab.crash();
    this.#simulation.clock.timer(downMs, () => void this.open());
  }

  pause(forMs: number): void {
    const lab = this.#lab;
    if (lab === undefined || lab.process.stopped) return;
    this.#simulation.history.add(this.name, 'stopped', { forMs });
    lab.process.stop();
    this.#simulation.clock.timer(forMs, () => {
      this.#simulation.history.add(this.name, 'resumed');
      lab.process.resume();
    });
  }

  jump(byMs: number): void {
    this.aheadMs += byMs;
    this.#lab?.process.jumpClock(byMs);
  }

  loseStore(forMs: number): void {
    if (this.#storeAway) return;
    this.#simulation.history.add(this.name, 'store away', { forMs });
    this.#storeAway = true;
    this.#simulation.clock.timer(forMs, () => {
      this.#storeAway = false;
    });
  }

  /** Nothing goes wrong with it any more. */
  heal(): void {
    this.traps.statement.length = 0;
    this.traps.call.length = 0;
    this.full = undefined;
    this.deaf = false;
    this.#storeAway = false;
    this.jump(-this.aheadMs);
    this.#lab?.process.resume();
    void this.open();
  }

  async end(): Promise<void> {
    this.#ended = true;
    const lab = this.#lab;
    this.#lab = undefined;
    await lab?.[Symbol.asyncDispose]();
  }

  /** Counts a call that reached its machine, or its end there. */
  onCall(process: string, call: string, when: 'before' | 'after'): void {
    if (process !== this.name || this.#lab === undefined) return;
    const ofName = (this.#callsOf.get(call) ?? 0) + (when === 'before' ? 1 : 0);
    if (when === 'before') this.#calls += 1;
    this.#callsOf.set(call, ofName);
    for (const trap of [...this.traps.call]) {
      if (trap.when !== when || (trap.name ?? call) !== call) continue;
      if (trap.at !== (trap.name === undefined ? this.#calls : ofName)) continue;
      this.traps.call.splice(this.traps.call.indexOf(trap), 1);
      trap.spring();
    }
  }

  #onStatement(name: string, lab: MemoryLab | undefined, sql: string, inTransaction: boolean): void {
    this.#simulation.actor = name;
    this.lookedAt = this.#simulation.clock.now();
    if (lab === undefined || lab !== this.#lab) return;
    this.#statements += 1;
    for (const trap of [...this.traps.statement]) {
      if (trap.at !== this.#statements) continue;
      this.traps.statement.splice(this.traps.statement.indexOf(trap), 1);
      trap.spring();
    }
    // A process that is stopped gets no further than to its next transaction.
    if (lab.process.stopped && !inTransaction) throw sqliteError(5, 'database is locked');
    // The other side takes back what had begun.
    if (this.#storeAway && sql !== 'rollback') throw sqliteError(5, 'database is locked');
    const { full } = this;
    // Reading and rolling back take no room.
    if (full === undefined || !/^(?:insert|update|delete|commit|release)/.test(sql)) return;
    if (this.#statements >= full.from && this.#statements < full.from + full.times) {
      this.#simulation.history.add(name, 'disk full', { sql: sql.slice(0, 40) });
      throw sqliteError(13, 'database or disk is full');
    }
  }

  #signal(opened: () => MemoryLab | undefined): CommitSignal {
    return {
      tell: () => this.#simulation.tell(this.index),
      listen: (heard) => {
        const listener = { index: this.index, heard: () => this.#hear(opened(), heard) };
        this.#simulation.listeners.add(listener);
        return { [Symbol.dispose]: () => void this.#simulation.listeners.delete(listener) };
      },
    };
  }

  /** Word of a commit is late, comes twice, or is lost. */
  #hear(lab: MemoryLab | undefined, heard: () => void): void {
    if (this.deaf || this.#storeAway || lab === undefined || lab !== this.#lab) return;
    const { luck, clock } = this.#simulation;
    const fate = luck.next();
    if (fate < 0.05) return;
    const own = lab.process.clock(clock);
    own.timer(Math.floor(luck.next() * 10), heard);
    if (fate > 0.9) own.timer(Math.floor(luck.next() * 1_000), heard);
  }
}
