import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Lab, Random } from '@bringup/core';
import type { Cable } from '../fixtures/cable.ts';
import type { RemoteMachines } from '../fixtures/machines.ts';

const run = promisify(execFile);

/** How often each went wrong. */
export interface OutageCounts {
  'restarts of sshd': number;
  'crashes of libvirtd': number;
  'cuts of the network': number;
  /** VMs whose start libvirtd crashed in the middle of, and does not let go of. */
  'starts cut off': number;
}

/**
 * Shortest and longest time between two outages, and longest outage. Work connects anew for some 15 s, with longer and
 * longer pauses: the machines have to be there in one of those tries.
 */
const quietMs = { from: 8_000, to: 12_000 };
const longestOutageMs = 6_000;
/** libvirtd crashes as it starts a VM, where it can hurt most, unless it starts none within this time. */
const startWithinMs = 15_000;

/**
 * What goes wrong on the way to the machines while controllers die: their sshd ends, with all connections, and comes back;
 * their libvirtd crashes and comes back, its VMs go on; their cable is pulled, for less and for more time than it takes to
 * notice.
 */
export class Outages {
  readonly counts: OutageCounts = {
    'restarts of sshd': 0,
    'crashes of libvirtd': 0,
    'cuts of the network': 0,
    'starts cut off': 0,
  };
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

  /**
   * Does what a person has to do about VMs that libvirtd does not let go of.
   * @returns what is wrong: the lab must have told of each.
   */
  async putRight(lab: Lab): Promise<readonly string[]> {
    const { libvirtd, host } = this.#machines;
    const stuck = await libvirtd.starting();
    if (stuck.length === 0) return [];
    this.counts['starts cut off'] += stuck.length;
    const alerts = await lab.alerts.list({ type: 'left-behind', state: 'open' });
    await libvirtd.forget(stuck);
    for (const vm of stuck) {
      await run('virsh', ['-c', libvirtd.uri, 'undefine', vm]);
      await rm(join(host.workspace, 'vms', vm), { recursive: true });
    }
    const told = new Set(alerts.map(({ details }) => details['vm']));
    return stuck.filter((vm) => !told.has(vm)).map((vm) => `nobody was told of the VM ${vm}`);
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
    const { libvirtd } = this.#machines;
    const inStart = AbortSignal.timeout(startWithinMs);
    await libvirtd.crashInStart(inStart).catch(() => libvirtd.crash());
    await this.#pause(0, longestOutageMs);
    await this.#machines.libvirtd.restart();
  }

  async #pause(fromMs: number, toMs: number): Promise<void> {
    await pause(fromMs + Math.floor(this.#random.next() * (toMs - fromMs)));
  }
}
