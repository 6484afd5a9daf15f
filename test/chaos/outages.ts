import { setTimeout as pause } from 'node:timers/promises';
import type { Random } from '@bringup/core';
import type { Cable } from '../fixtures/cable.ts';
import type { RemoteMachines } from '../fixtures/machines.ts';

/** How often each went wrong. */
export interface OutageCounts {
  'restarts of sshd': number;
  'crashes of libvirtd': number;
  'cuts of the network': number;
}

/**
 * Shortest and longest time between two outages, and longest outage. Work connects anew for some 15 s, with longer and
 * longer pauses: the machines have to be there in one of those tries.
 */
const quietMs = { from: 8_000, to: 12_000 };
const longestOutageMs = 6_000;

/**
 * What goes wrong on the way to the machines while controllers die: their sshd ends, with all connections, and comes back;
 * their libvirtd crashes and comes back, its VMs go on; their cable is pulled, for less and for more time than it takes to
 * notice.
 */
export class Outages {
  readonly counts: OutageCounts = { 'restarts of sshd': 0, 'crashes of libvirtd': 0, 'cuts of the network': 0 };
  readonly #machines: RemoteMachines;
  readonly #cable: Cable;
  readonly #random: Random;
  #over = false;

  constructor(machines: RemoteMachines, cable: Cable, random: Random) {
    this.#machines = machines;
    this.#cable = cable;
    this.#random = random;
  }

  /** So many, one after the other, in turn; everything is there again when it resolves. */
  async strike(times: number): Promise<void> {
    const outages = [() => this.#cut(), () => this.#restartSshd(), () => this.#crashLibvirtd()];
    for (let done = 0; done < times; done += 1) {
      await this.#pause(quietMs.from, quietMs.to);
      await outages[done % outages.length]?.();
    }
    this.#over = true;
  }

  /** Whether all have been. */
  get over(): boolean {
    return this.#over;
  }

  async #cut(): Promise<void> {
    this.counts['cuts of the network'] += 1;
    await this.#cable.plug('down');
    await this.#pause(0, longestOutageMs);
    await this.#cable.plug('up');
  }

  async #restartSshd(): Promise<void> {
    this.counts['restarts of sshd'] += 1;
    await this.#machines.sshd.stop();
    await this.#pause(0, longestOutageMs);
    await this.#machines.sshd.start();
  }

  async #crashLibvirtd(): Promise<void> {
    this.counts['crashes of libvirtd'] += 1;
    await this.#machines.libvirtd.crash();
    await this.#pause(0, longestOutageMs);
    await this.#machines.libvirtd.restart();
  }

  async #pause(fromMs: number, toMs: number): Promise<void> {
    await pause(fromMs + Math.floor(this.#random.next() * (toMs - fromMs)));
  }
}
