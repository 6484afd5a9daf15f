import { withDeadline } from '../async.ts';
import type { Console, ConsoleConnector, ConsoleTarget } from '../contracts/console.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import type { MemoryLine } from './memory-console.ts';

/** Options of {@link memoryConsole}. */
export interface MemoryConsoleOptions {
  /** Name by which boards refer to it. Default `memory`. */
  readonly name?: string;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** Serial consoles in memory, one line a device. What a line says while nobody listens is lost. */
export function memoryConsole(options: MemoryConsoleOptions = {}): MemoryConsoleConnector {
  return new MemoryConsoleConnector(options);
}

/** {@link memoryConsole}'s connector, with its faults. */
export class MemoryConsoleConnector implements ConsoleConnector {
  readonly name: string;
  /** Devices that can't be opened: `connection-failed`. */
  readonly unreachable: Set<string> = new Set();
  readonly #clock: Clock;
  readonly #lines = new Map<string, MemoryLine>();
  readonly #open = new Set<Console>();
  #disposed = false;

  constructor({ name, clock }: MemoryConsoleOptions) {
    this.name = name ?? 'memory';
    this.#clock = clock ?? systemClock;
  }

  /** Plugs a machine's line in. */
  attach(device: string, line: MemoryLine): void {
    this.#lines.set(device, line);
  }

  /** The line of a device as the machine sees it; undefined when nothing is plugged in. */
  line(device: string): MemoryLine | undefined {
    return this.#lines.get(device);
  }

  open(target: ConsoleTarget, options: CallOptions = {}): Promise<Console> {
    const { name, device } = target;
    const bounded = { timeoutMs: limits.connectTimeoutMs, ...options };
    return withDeadline(this.#clock, `opening the console of ${name}`, bounded, async () => {
      if (this.#disposed) throw new TypeError('The memory console connector has been disposed.');
      if (this.unreachable.has(device)) {
        throw new BringupError('connection-failed', `${device} of ${name} can't be reached.`, {
          retryable: true,
          details: { device },
        });
      }
      const line = this.#lines.get(device);
      if (line === undefined) {
        throw new BringupError('not-found', `There is no console ${device}.`, { details: { device } });
      }
      const console = line.open(line.saidBytes);
      this.#open.add(console);
      return console;
    });
  }

  /** Closes every console it has opened; the lines go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    for (const console of this.#open) await console[Symbol.asyncDispose]();
  }
}
