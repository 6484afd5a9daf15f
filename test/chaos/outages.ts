import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '@bringup/core';

/** Something on the way to the machines that goes wrong for a while. */
export interface Outage {
  /** In the plural. */
  readonly name: string;
  /** Begins, and puts it right when `lasts` has resolved. */
  strike(lasts: () => Promise<void>): Promise<void>;
}

/**
 * Shortest and longest time between two outages, and longest outage. Work connects anew for some 15 s, with longer and
 * longer pauses: the machines have to be there in one of those tries.
 */
const quietMs = { from: 8_000, to: 12_000 };
const longestOutageMs = 6_000;

/** What goes wrong on the way to the machines while controllers die. */
export class Outages {
  /** How often each went wrong. */
  readonly counts: Record<string, number> = {};
  readonly #outages: readonly Outage[];
  readonly #random: Random;
  #over = false;

  constructor(outages: readonly Outage[], random: Random) {
    this.#outages = outages;
    this.#random = random;
  }

  /** So many, one after the other, in turn; everything is there again when it resolves. */
  async strike(times: number): Promise<void> {
    for (let done = 0; done < times; done += 1) {
      const outage = this.#outages[done % this.#outages.length];
      if (outage === undefined) break;
      await this.#pause(quietMs.from, quietMs.to);
      this.counts[outage.name] = (this.counts[outage.name] ?? 0) + 1;
      await outage.strike(() => this.#pause(0, longestOutageMs));
    }
    this.#over = true;
  }

  /** Whether all have been. */
  get over(): boolean {
    return this.#over;
  }

  async #pause(fromMs: number, toMs: number): Promise<void> {
    await pause(fromMs + Math.floor(this.#random.next() * (toMs - fromMs)));
  }
}
