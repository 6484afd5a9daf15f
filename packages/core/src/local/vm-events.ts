import { abortedError, throwIfAborted } from '../async.ts';
import type { VmEvent } from '../contracts/hypervisor.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';

interface Subscriber {
  readonly queue: VmEvent[];
  wake: () => void;
}

/** Hands VM events to any number of subscribers, each at its own pace within a bound. */
export class VmEventFeed {
  readonly #subscribers = new Set<Subscriber>();
  #closed = false;
  #reason: Error | undefined;

  publish(event: VmEvent): void {
    for (const subscriber of this.#subscribers) {
      // One more than may wait tells the reader that it has lost some, whenever it comes.
      if (subscriber.queue.length <= limits.vmEventBacklog) subscriber.queue.push(event);
      subscriber.wake();
    }
  }

  /** Ends every subscription after what it has queued: normally, or with `reason`. */
  close(reason?: Error): void {
    this.#closed = true;
    this.#reason = reason;
    for (const subscriber of this.#subscribers) subscriber.wake();
  }

  /**
   * Events from the first `next()` on, until the feed closes or the loop is left.
   * @throws `aborted`; `connection-lost` when the reader falls too far behind, or as the feed closed.
   */
  async *subscribe(signal?: AbortSignal): AsyncGenerator<VmEvent, void, void> {
    throwIfAborted(signal, 'following VM events');
    const subscriber: Subscriber = { queue: [], wake: () => {} };
    const wake = (): void => subscriber.wake();
    this.#subscribers.add(subscriber);
    signal?.addEventListener('abort', wake, { once: true });
    try {
      while (true) {
        if (signal?.aborted === true) throw abortedError('following VM events', signal);
        if (subscriber.queue.length > limits.vmEventBacklog) throw tooSlow();
        const event = subscriber.queue.shift();
        if (event !== undefined) yield event;
        else if (this.#reason !== undefined) throw this.#reason;
        else if (this.#closed) return;
        else await new Promise<void>((resolve) => (subscriber.wake = resolve));
      }
    } finally {
      signal?.removeEventListener('abort', wake);
      this.#subscribers.delete(subscriber);
    }
  }
}

function tooSlow(): BringupError {
  return new BringupError(
    'connection-lost',
    `More than ${limits.vmEventBacklog} VM events were waiting to be read; list the VMs and subscribe again.`,
    { retryable: true },
  );
}
