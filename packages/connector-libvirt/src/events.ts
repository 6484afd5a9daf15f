import { abortedError, BringupError, throwIfAborted } from '@bringup/core';
import type { CallOptions, VmEvent } from '@bringup/core';
import type { Daemon } from './daemon.ts';
import { readDomain } from './domain.ts';
import type { DomainRef } from './domain.ts';
import { procedures } from './rpc/procedures.ts';

// virDomainEventID
const eventId = { lifecycle: 0, reboot: 1 } as const;
// virDomainEventType, and details of `defined` and `stopped`
const lifecycle = { defined: 0, undefined: 1, started: 2, resumed: 4, stopped: 5, crashed: 8 } as const;
const definedAnew = 0;
const stoppedByCrash = 2;
const stoppedByFailure = 5;

/** Events a reader may be behind; one that falls further back is cut off rather than told half. */
const maxQueuedEvents = 10_000;

interface Reader {
  readonly queue: VmEvent[];
  overflowed: boolean;
  wake: (() => void) | undefined;
}

/** Turns libvirt's events into ours and hands them to any number of readers. */
export class VmEvents {
  readonly #daemon: Daemon;
  readonly #readers = new Set<Reader>();
  /** VMs told as started and not yet as ended: libvirt tells a start as `started`, `resumed` or both. */
  readonly #running = new Set<string>();
  /** VMs told as crashed that libvirt will tell as stopped once more. */
  readonly #crashed = new Set<string>();
  readonly #reboots = new Set<(name: string) => void>();
  #order: Promise<void> = Promise.resolve();
  #ended: { readonly error: Error | undefined } | undefined;

  private constructor(daemon: Daemon) {
    this.#daemon = daemon;
    daemon.connection.onEvent((procedure, body) => {
      // First comes the number of the callback, which is the connection's own matter.
      if (procedure === procedures.eventLifecycle) {
        body.i32();
        const domain = readDomain(body);
        const [event, detail] = [body.i32(), body.i32()];
        this.#order = this.#order.then(() => this.#lifecycle(domain, event, detail)).catch(() => {});
      } else if (procedure === procedures.eventReboot) {
        body.i32();
        const { name } = readDomain(body);
        for (const listener of this.#reboots) listener(name);
        this.#order = this.#order.then(() => this.#tell({ name, type: 'rebooted' }));
      }
    });
    void daemon.connection.closed.then((error) => {
      this.#ended = { error };
      for (const reader of this.#readers) reader.wake?.();
    });
  }

  /** Registers with the daemon. @throws as calls do. */
  static async start(daemon: Daemon, options: CallOptions): Promise<VmEvents> {
    const events = new VmEvents(daemon);
    await Promise.all([daemon.subscribe(eventId.lifecycle, options), daemon.subscribe(eventId.reboot, options)]);
    return events;
  }

  async #lifecycle(domain: DomainRef, event: number, detail: number): Promise<void> {
    const { name } = domain;
    if (event === lifecycle.defined && detail === definedAnew) this.#tell({ name, type: 'created' });
    else if (event === lifecycle.undefined) this.#tell({ name, type: 'removed' });
    else if (event === lifecycle.resumed) this.#started(name);
    else if (event === lifecycle.started) {
      // Created paused looks the same as started; `resumed` follows when it is let run.
      if ((await this.#daemon.state(domain, {})) === 'running') this.#started(name);
    } else if (event === lifecycle.crashed) {
      this.#crashed.add(name);
      this.#tell({ name, type: 'crashed' });
    } else if (event === lifecycle.stopped) {
      this.#running.delete(name);
      const crashed = detail === stoppedByCrash || detail === stoppedByFailure;
      if (!this.#crashed.delete(name) || !crashed) this.#tell({ name, type: crashed ? 'crashed' : 'stopped' });
    }
  }

  #started(name: string): void {
    if (this.#running.has(name)) return;
    this.#running.add(name);
    this.#tell({ name, type: 'started' });
  }

  #tell(event: VmEvent): void {
    for (const reader of this.#readers) {
      if (reader.queue.length >= maxQueuedEvents) reader.overflowed = true;
      else reader.queue.push(event);
      reader.wake?.();
    }
  }

  /** Calls `act` at each reset of that VM, until the result is disposed. */
  onReboot(name: string, act: () => void): Disposable {
    const listener = (rebooted: string): void => void (rebooted === name && act());
    this.#reboots.add(listener);
    return { [Symbol.dispose]: () => void this.#reboots.delete(listener) };
  }

  /** Events from the first `next` on; ends with the connection. @throws `connection-lost`, `aborted`. */
  async *read(signal: AbortSignal | undefined): AsyncGenerator<VmEvent, void> {
    throwIfAborted(signal, 'events');
    const reader: Reader = { queue: [], overflowed: false, wake: undefined };
    const onAbort = (): void => reader.wake?.();
    signal?.addEventListener('abort', onAbort);
    this.#readers.add(reader);
    try {
      for (;;) {
        if (signal?.aborted === true) throw abortedError('events', signal);
        const event = reader.queue.shift();
        if (event !== undefined) yield event;
        else if (reader.overflowed) throw overflow();
        else if (this.#ended !== undefined) {
          if (this.#ended.error !== undefined) throw this.#ended.error;
          return;
        } else await new Promise<void>((resolve) => (reader.wake = resolve));
      }
    } finally {
      this.#readers.delete(reader);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function overflow(): BringupError {
  return new BringupError(
    'connection-lost',
    `A reader of events fell more than ${maxQueuedEvents} events behind. List the VMs and read on from now.`,
    { retryable: true },
  );
}
