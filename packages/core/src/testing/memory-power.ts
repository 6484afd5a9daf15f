import { withDeadline } from '../async.ts';
import type { PowerOutlet, PowerSwitchOptions } from '../contracts/power.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { PowerState } from '../model/power.ts';
import { systemClock } from '../runtime.ts';

/** Options of {@link memoryPower}. */
export interface MemoryPowerOptions {
  /** Name in messages. Default `outlet 1`. */
  readonly name?: string;
  /** Default off. */
  readonly initially?: 'on' | 'off';
  /** Whether the device can tell its state; otherwise it is `unknown` and nothing is read back. Default true. */
  readonly tellsState?: boolean;
  /** Called when the load really gets or loses power: what hangs on the outlet. */
  readonly onSwitched?: (state: 'on' | 'off') => void;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** An outlet in memory. Faults are set on it. */
export function memoryPower(options: MemoryPowerOptions = {}): MemoryPowerOutlet {
  return new MemoryPowerOutlet(options);
}

/** {@link memoryPower}'s outlet, with its faults. */
export class MemoryPowerOutlet implements PowerOutlet {
  /** A stuck relay: it takes commands and does not switch. */
  stuck = false;
  /** An outlet that can't be reached: calls fail with `connection-failed`. */
  unreachable = false;
  readonly #name: string;
  readonly #tellsState: boolean;
  readonly #onSwitched: (state: 'on' | 'off') => void;
  readonly #clock: Clock;
  #actual: 'on' | 'off';
  #disposed = false;

  constructor({ name, initially, tellsState, onSwitched, clock }: MemoryPowerOptions) {
    this.#name = name ?? 'outlet 1';
    this.#actual = initially ?? 'off';
    this.#tellsState = tellsState ?? true;
    this.#onSwitched = onSwitched ?? ((): void => {});
    this.#clock = clock ?? systemClock;
  }

  /** Whether the load has power, whatever the device says. */
  get actual(): 'on' | 'off' {
    return this.#actual;
  }

  on(options?: PowerSwitchOptions): Promise<void> {
    return this.#set('on', options);
  }

  off(options?: PowerSwitchOptions): Promise<void> {
    return this.#set('off', options);
  }

  state(options?: CallOptions): Promise<PowerState> {
    return this.#call(`reading ${this.#name}`, options, () => (this.#tellsState ? this.#actual : 'unknown'));
  }

  /** Lets go of the outlet, which keeps its state; later calls are refused. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
  }

  #set(wanted: 'on' | 'off', options: PowerSwitchOptions | undefined): Promise<void> {
    return this.#call(`switching ${this.#name} ${wanted}`, options, () => {
      options?.beforeSending?.();
      if (!this.stuck && this.#actual !== wanted) {
        this.#actual = wanted;
        this.#onSwitched(wanted);
      }
      if (!this.#tellsState || this.#actual === wanted) return;
      throw new BringupError('power-failed', `${this.#name} was switched ${wanted}, but reads back ${this.#actual}.`, {
        details: { outlet: this.#name, wanted, actual: this.#actual },
      });
    });
  }

  #call<T>(what: string, options: CallOptions = {}, operation: () => T): Promise<T> {
    return withDeadline(this.#clock, what, { timeoutMs: limits.execTimeoutMs, ...options }, async () => {
      if (this.#disposed) throw new TypeError(`${this.#name} is disposed.`);
      if (this.unreachable) {
        throw new BringupError('connection-failed', `${this.#name} can't be reached.`, { retryable: true });
      }
      return operation();
    });
  }
}
