import { withDeadline } from '../async.ts';
import type { PowerSwitchOptions } from '../contracts/power.ts';
import type { Clock, Random } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import type { MemoryCall, MemoryLink, NetworkProcess } from './memory-link.ts';

/** Options of {@link MemoryNetwork}. */
export interface MemoryNetworkOptions {
  readonly clock: Clock;
  /** Draws the delays. */
  readonly random: Random;
  /** Longest usual delay of a call on its way, and of its result on the way back. Default 0: none. */
  readonly latencyMs?: number;
  /** How many of a hundred calls are delayed at all. Default 100. */
  readonly delayedPercent?: number;
  /**
   * Hears of each call when it is sent; `before` it is done, when it has reached its machine; when it has `begun`,
   * unless its process was killed just then; and of its end there.
   */
  readonly onCall?: (process: NetworkProcess, call: MemoryCall, when: MemoryCallMoment, error?: unknown) => void;
}

/** A moment of a call. */
export type MemoryCallMoment = 'sent' | 'before' | 'begun' | 'after';

/** How a connection that is cut shows: refused and reset, or silence until it is healed. */
export type CutKind = 'refuse' | 'hang';

interface Cut {
  readonly how: CutKind;
  readonly healed: PromiseWithResolvers<void>;
}

/**
 * The network between the processes of labs in memory and their machines: delays that reorder results,
 * and cuts. A call that is on its way when its process dies is done all the same; its result is lost.
 */
export class MemoryNetwork {
  /** Longest delay of one way, from now on. */
  latencyMs: number;
  readonly #options: MemoryNetworkOptions;
  readonly #cuts = new Map<NetworkProcess, Map<string, Cut>>();
  readonly #connections = new Set<{
    readonly process: NetworkProcess;
    readonly machine: string;
    readonly lose: (error: Error) => void;
  }>();

  constructor(options: MemoryNetworkOptions) {
    this.#options = options;
    this.latencyMs = options.latencyMs ?? 0;
  }

  /** Separates a process from machines. `refuse` breaks its connections with them, `hang` lets them wait. */
  cut(process: NetworkProcess, machines: readonly string[], how: CutKind): void {
    const cuts = this.#cuts.get(process) ?? new Map<string, Cut>();
    this.#cuts.set(process, cuts);
    for (const machine of machines) {
      cuts.set(machine, { how, healed: Promise.withResolvers() });
      if (how === 'hang') continue;
      const error = lost(machine);
      for (const connection of [...this.#connections]) {
        if (connection.process === process && connection.machine === machine) connection.lose(error);
      }
    }
  }

  /** Joins them again. */
  heal(process: NetworkProcess, machines: readonly string[]): void {
    for (const machine of machines) {
      this.#cuts.get(process)?.get(machine)?.healed.resolve();
      this.#cuts.get(process)?.delete(machine);
    }
  }

  /** Joins everything again. */
  healAll(): void {
    for (const [process, cuts] of this.#cuts) this.heal(process, [...cuts.keys()]);
  }

  /** The way from a process to all machines. */
  link(process: NetworkProcess, clock: Clock): MemoryLink {
    return {
      carry: (call, options, act) => this.#carry(process, clock, call, options, act),
      arrive: (machine) => this.#travel(process, machine),
      onCut: (machine, lose) => {
        const connection = { process, machine, lose };
        this.#connections.add(connection);
        return { [Symbol.dispose]: () => void this.#connections.delete(connection) };
      },
    };
  }

  #carry<T>(
    process: NetworkProcess,
    clock: Clock,
    call: MemoryCall,
    { signal, timeoutMs, beforeSending }: PowerSwitchOptions,
    act: () => Promise<T>,
  ): Promise<T> {
    const bounds = { ...(signal !== undefined && { signal }), ...(timeoutMs !== undefined && { timeoutMs }) };
    return withDeadline(clock, `${call.name} on ${call.machine}`, bounds, async (given) => {
      await process.running();
      beforeSending?.();
      this.#options.onCall?.(process, call, 'sent');
      await this.#travel(process, call.machine);
      // Whoever gave up while the call was on its way did not take it back; a call that waits for a cut to heal is lost.
      given.throwIfAborted();
      const result = await this.#done(process, call, beforeSending, act);
      await this.#travel(process, call.machine);
      await process.running();
      return result();
    });
  }

  async #done<T>(
    process: NetworkProcess,
    call: MemoryCall,
    beforeSending: (() => void) | undefined,
    act: () => Promise<T>,
  ): Promise<() => T> {
    const { onCall } = this.#options;
    onCall?.(process, call, 'before');
    // It may have been stopped or killed with the call just before it was sent.
    await process.running();
    beforeSending?.();
    onCall?.(process, call, 'begun');
    try {
      const result = await act();
      onCall?.(process, call, 'after');
      return () => result;
    } catch (error) {
      onCall?.(process, call, 'after', error);
      return () => {
        throw error;
      };
    }
  }

  async #travel(process: NetworkProcess, machine: string): Promise<void> {
    const { clock, random, delayedPercent = 100 } = this.#options;
    if (this.latencyMs > 0 && random.next() * 100 < delayedPercent) {
      const delayMs = Math.floor(random.next() * this.latencyMs);
      await new Promise<void>((resolve) => void clock.timer(delayMs, resolve));
    }
    const cut = this.#cuts.get(process)?.get(machine);
    if (cut === undefined) return;
    if (cut.how === 'refuse') throw lost(machine);
    await cut.healed.promise;
  }
}

function lost(machine: string): BringupError {
  return new BringupError('connection-lost', `The connection with ${machine} was lost.`, {
    retryable: true,
    details: { machine },
  });
}
