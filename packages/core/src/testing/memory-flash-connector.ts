import { withDeadline } from '../async.ts';
import type { FlashConnector, FlashStation, FlashTarget } from '../contracts/flash.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import type { MemoryFlashStation } from './memory-flash.ts';

/** Options of {@link memoryFlashConnector}. */
export interface MemoryFlashConnectorOptions {
  /** Name by which boards refer to it. Default `memory`. */
  readonly name?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** Flash stations in memory, by their ids. */
export function memoryFlashConnector(options: MemoryFlashConnectorOptions = {}): MemoryFlashConnector {
  return new MemoryFlashConnector(options);
}

/** {@link memoryFlashConnector}'s connector, with its faults. */
export class MemoryFlashConnector implements FlashConnector {
  readonly name: string;
  /** Stations that can't be reached: `connection-failed`. */
  readonly unreachable: Set<string> = new Set();
  /** Stations that have to restart their board before anything else, as a board's own boot loader does. */
  readonly restarting: Set<string> = new Set();
  readonly #clock: Clock;
  readonly #stations = new Map<string, MemoryFlashStation>();

  constructor({ name, clock }: MemoryFlashConnectorOptions) {
    this.name = name ?? 'memory';
    this.#clock = clock ?? systemClock;
  }

  /** Makes a station known under an id. */
  attach(stationId: string, station: MemoryFlashStation): void {
    this.#stations.set(stationId, station);
  }

  /** A session with a station. Disposing of it stops what it flashes; the station stays. */
  open({ stationId, powerCycle }: FlashTarget, options: CallOptions = {}): Promise<FlashStation> {
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
    return withDeadline(this.#clock, `connecting to the flash station ${stationId}`, bounded, async (signal) => {
      const station = this.#stations.get(stationId);
      if (station === undefined) throw new BringupError('not-found', `There is no flash station ${stationId}.`);
      if (this.unreachable.has(stationId)) {
        throw new BringupError('connection-failed', `The flash station ${stationId} can't be reached.`, {
          retryable: true,
          details: { stationId },
        });
      }
      if (this.restarting.has(stationId)) await powerCycle?.({ signal });
      return session(station);
    });
  }

  /** Lets go of every station; what was flashed stays. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#stations.values()].map((station) => station[Symbol.asyncDispose]()));
  }
}

function session(station: MemoryFlashStation): FlashStation {
  const life = new AbortController();
  const within = <O extends CallOptions>(options: O | undefined): O => {
    if (life.signal.aborted) throw new TypeError('The session with the flash station is disposed.');
    const signals = [life.signal, ...(options?.signal === undefined ? [] : [options.signal])];
    return { ...options, signal: AbortSignal.any(signals) } as O;
  };
  return {
    flash: async (image, options) => station.flash(image, within(options)),
    verify: async (expected, options) => station.verify(expected, within(options)),
    [Symbol.asyncDispose]: async () => life.abort(new BringupError('aborted', 'The flash session was disposed.')),
  };
}
