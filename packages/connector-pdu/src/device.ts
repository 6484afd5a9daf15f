import { abortedError, BringupError, isBringupError, limits, sleep, withDeadline } from '@bringup/core';
import type { CallOptions, Clock, PowerState, PowerSwitchOptions } from '@bringup/core';
import PQueue from 'p-queue';
import type { DriverCall, PduDriver } from './driver.ts';
import { explain, mayHaveHappened } from './errors.ts';

/** What is the same for all devices of a connector. */
export interface DeviceOptions {
  readonly clock: Clock;
  /** Aborts when the connector is disposed of. */
  readonly life: AbortSignal;
  /** What the user set, whatever the drivers think. */
  readonly settleMs: number | undefined;
}

/**
 * One device, whoever uses it. It hears one request at a time. Changes of one outlet come one after the
 * other, each with its reading back; between them other outlets have their turn.
 */
export class Device {
  readonly name: string;
  readonly driver: PduDriver;
  readonly #options: DeviceOptions;
  readonly #requests = new PQueue({ concurrency: 1 });
  readonly #changes = new Map<string, PQueue>();

  constructor(name: string, driver: PduDriver, options: DeviceOptions) {
    this.name = name;
    this.driver = driver;
    this.#options = options;
  }

  /** Switches an outlet. Resolves only when it reads back so, where the device can tell. */
  set(outlet: string, wanted: 'on' | 'off', options?: PowerSwitchOptions): Promise<void> {
    const changes = this.#changes.get(outlet) ?? new PQueue({ concurrency: 1 });
    this.#changes.set(outlet, changes);
    return this.#call(`switching ${this.#label(outlet)} ${wanted}`, outlet, options, (call) =>
      inTurn(changes, call.signal, () => this.#change(outlet, wanted, call)),
    );
  }

  /** What an outlet says it is. */
  async state(outlet: string, options?: CallOptions): Promise<PowerState> {
    return this.#call(`reading ${this.#label(outlet)}`, outlet, options, async (call) => {
      try {
        return await this.#read(outlet, call);
      } catch (error) {
        // To ask is harmless. A device that was not even reached won't be a moment later.
        if (call.signal.aborted || !mayHaveHappened(error)) throw error;
        await sleep(call.clock, limits.pduPollMs, call.signal);
        return this.#read(outlet, call);
      }
    });
  }

  #label(outlet: string): string {
    const { kind, address } = this.driver;
    return `outlet ${outlet} of ${this.name} (${kind} at ${address})`;
  }

  async #call<T>(
    what: string,
    outlet: string,
    options: PowerSwitchOptions | undefined,
    act: (call: DriverCall) => Promise<T>,
  ): Promise<T> {
    const { clock, life } = this.#options;
    const beforeSending = options?.beforeSending ?? ((): void => undefined);
    const signals = options?.signal === undefined ? [life] : [life, options.signal];
    const bounds = { timeoutMs: limits.powerCallMs, ...options, signal: AbortSignal.any(signals) };
    return withDeadline(clock, what, bounds, async (signal) => {
      try {
        return await act({ signal, clock, beforeSending });
      } catch (error) {
        signal.throwIfAborted();
        throw explain(what, error, { device: this.name, outlet });
      }
    });
  }

  async #change(outlet: string, wanted: 'on' | 'off', call: DriverCall): Promise<void> {
    const { repeats = 0, tellsState = true } = this.driver;
    for (let left = repeats; ; left -= 1) {
      const doubt = await this.#switch(outlet, wanted, call);
      if (!tellsState) {
        if (doubt !== undefined) throw doubt;
        return;
      }
      const actual = await this.#settle(outlet, wanted, call, doubt);
      if (actual === wanted) return;
      if (left > 0) continue;
      throw (
        doubt ??
        new BringupError(
          'power-failed',
          `it took the command, but reads back ${actual}; look whether the outlet is locked, broken or overruled by a schedule`,
          { retryable: true, details: { wanted, actual } },
        )
      );
    }
  }

  /** Tells the device. What it answers with that leaves open whether it did it, is for reading back to decide. */
  async #switch(outlet: string, wanted: 'on' | 'off', call: DriverCall): Promise<BringupError | undefined> {
    try {
      await this.#request(call, async () => {
        call.beforeSending();
        await this.driver.switch(outlet, wanted, call);
      });
      return undefined;
    } catch (error) {
      if (!call.signal.aborted && mayHaveHappened(error)) return error;
      throw error;
    }
  }

  /** Reads until the outlet is what it should be, or its time is over. */
  async #settle(
    outlet: string,
    wanted: 'on' | 'off',
    call: DriverCall,
    doubt: BringupError | undefined,
  ): Promise<PowerState> {
    const { clock, signal } = call;
    const until = clock.now() + (this.#options.settleMs ?? this.driver.settleMs ?? limits.pduSettleMs);
    for (;;) {
      const answer = await this.#tryRead(outlet, call);
      if (answer.state === wanted) return wanted;
      // A device that is lost is not asked again and again: what broke first is what counts.
      if (doubt !== undefined && answer.error !== undefined) throw doubt;
      if (answer.error?.retryable === false) throw answer.error;
      if (clock.now() >= until) {
        if (answer.error !== undefined) throw answer.error;
        return answer.state ?? 'unknown';
      }
      await sleep(clock, limits.pduPollMs, signal);
    }
  }

  async #tryRead(
    outlet: string,
    call: DriverCall,
  ): Promise<{ readonly state?: PowerState; readonly error?: BringupError }> {
    try {
      return { state: await this.#read(outlet, call) };
    } catch (error) {
      if (!call.signal.aborted && isBringupError(error)) return { error };
      throw error;
    }
  }

  #read(outlet: string, call: DriverCall): Promise<PowerState> {
    return this.#request(call, () => this.driver.read(outlet, call));
  }

  #request<T>(call: DriverCall, act: () => Promise<T>): Promise<T> {
    return inTurn(this.#requests, call.signal, act);
  }
}

/** Runs `act` when its turn has come; never, when the call was over by then. */
async function inTurn<T>(queue: PQueue, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
  return queue.add(
    async () => {
      if (signal.aborted) throw abortedError('a request to the device', signal);
      return act();
    },
    { signal },
  );
}
