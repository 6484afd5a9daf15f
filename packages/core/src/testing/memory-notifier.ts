import { withDeadline } from '../async.ts';
import type { Notification, Notifier } from '../contracts/notifier.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { AlertSeverity } from '../model/alert.ts';
import { systemClock } from '../runtime.ts';

/** Options of {@link memoryNotifier}. */
export interface MemoryNotifierOptions {
  /** Default `memory`. */
  readonly name?: string;
  readonly minSeverity?: AlertSeverity;
  /** Default: the system's. */
  readonly clock?: Clock;
}

/** A notifier that keeps what it is given. Faults are set on it. */
export function memoryNotifier(options: MemoryNotifierOptions = {}): MemoryNotifier {
  return new MemoryNotifier(options);
}

/** {@link memoryNotifier}'s notifier, with what it was given and its faults. */
export class MemoryNotifier implements Notifier {
  readonly name: string;
  readonly minSeverity?: AlertSeverity;
  /** Everything it took, oldest first; the same notification more than once if it was given so. */
  readonly received: Notification[] = [];
  /** How often it was called. */
  calls = 0;
  /** `refusing`: for now; `closed`: for good; `unreachable`; `hanging`: takes nothing and never answers. */
  fault: 'none' | 'refusing' | 'closed' | 'unreachable' | 'hanging' = 'none';
  /** Said with `refusing`: not to be tried again before this many milliseconds. */
  retryAfterMs: number | undefined;
  readonly #clock: Clock;

  constructor({ name = 'memory', minSeverity, clock = systemClock }: MemoryNotifierOptions) {
    this.name = name;
    if (minSeverity !== undefined) this.minSeverity = minSeverity;
    this.#clock = clock;
  }

  deliver(notification: Notification, options: CallOptions = {}): Promise<void> {
    this.calls += 1;
    const bounds = { timeoutMs: limits.deliveryTimeoutMs, ...options };
    return withDeadline(this.#clock, `telling ${this.name}`, bounds, async () => {
      switch (this.fault) {
        case 'none':
          this.received.push(structuredClone(notification));
          return;
        case 'hanging':
          return new Promise<never>(() => undefined);
        case 'unreachable':
          throw new BringupError('connection-failed', `${this.name} can't be reached`, { retryable: true });
        case 'refusing':
        case 'closed':
          throw new BringupError('delivery-failed', `${this.name} takes nothing`, {
            retryable: this.fault === 'refusing',
            details: { ...(this.retryAfterMs !== undefined && { retryAfterMs: this.retryAfterMs }) },
          });
      }
    });
  }

  /** Takes no alerts any more; those it got stay. */
  async [Symbol.asyncDispose](): Promise<void> {}
}
