import { EventEmitter } from 'eventemitter3';
import type { Clock, Logger } from '../contracts/runtime.ts';
import { abortedError, onAbort } from '../async.ts';
import type { EventName, LabEvent } from '../events.ts';
import { limits } from '../limits.ts';
import type { Store } from './store.ts';

type Listeners = { [N in EventName]: (event: LabEvent<N>) => void } & { '*': (event: LabEvent) => void };

/** Options of {@link EventFeed.read}. */
export interface ReadEventsOptions {
  /** Go on after this event: its `seq`. Default 0: from the oldest. */
  readonly after?: number;
  /** Wait for more when all are read. Default false. */
  readonly follow?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * What happens in the lab, in the order of commits, whichever process did it. Listeners hear what is
 * committed from their registration on; {@link EventFeed.read} also gives what was before.
 */
export class EventFeed implements Disposable {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #emitter = new EventEmitter<Listeners>();
  #following: AbortController | undefined;
  /** Position of the last event that listeners were told. */
  #told = 0;

  constructor(options: { store: Store; clock: Clock; logger: Logger }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  /** Position of the newest event; 0 when there is none. */
  async cursor(): Promise<number> {
    const row = await this.#store.db
      .selectFrom('events')
      .select((eb) => eb.fn.max('seq').as('seq'))
      .executeTakeFirst();
    return row?.seq ?? 0;
  }

  /** Events that listeners of this process have not been told yet; 0 when there are none, of either. */
  async lag(): Promise<number> {
    if (this.#following === undefined) return 0;
    return Math.max(0, (await this.cursor()) - this.#told);
  }

  /**
   * Calls `listener` for each event of that name (`*`: every event) from now on. A listener that
   * throws harms nobody. Dispose of the result to stop.
   */
  on(name: '*', listener: (event: LabEvent) => void): Promise<Disposable>;
  /** The same for the events of one name. */
  on<N extends EventName>(name: N, listener: (event: LabEvent<N>) => void): Promise<Disposable>;
  async on(name: EventName | '*', listener: Listeners[EventName] | Listeners['*']): Promise<Disposable> {
    const heard = listener as (event: LabEvent) => void;
    const safe = (event: LabEvent): void => {
      try {
        heard(event);
      } catch (error) {
        this.#logger.error({ error, event: event.name }, 'an event listener threw');
      }
    };
    if (this.#following === undefined) {
      const controller = new AbortController();
      this.#following = controller;
      const after = await this.cursor();
      this.#told = after;
      void this.#tell(after, controller.signal);
    }
    this.#emitter.on(name as '*', safe);
    return {
      [Symbol.dispose]: () => {
        this.#emitter.off(name as '*', safe);
        if (this.#emitter.eventNames().length === 0) this[Symbol.dispose]();
      },
    };
  }

  async #tell(after: number, signal: AbortSignal): Promise<void> {
    try {
      for await (const event of this.read({ after, follow: true, signal })) {
        this.#told = event.seq;
        this.#emitter.emit('*', event);
        this.#emitter.emit(event.name as '*', event);
      }
    } catch (error) {
      if (!signal.aborted) this.#logger.error({ error }, 'the event feed broke');
    }
  }

  /** Events in order, from a cursor on; with `follow` it waits for more. Leaving the loop frees it. */
  async *read(options: ReadEventsOptions = {}): AsyncGenerator<LabEvent, void, undefined> {
    let { after = 0 } = options;
    for (;;) {
      if (options.signal?.aborted === true) throw abortedError('reading events', options.signal);
      const { promise: changed, resolve } = Promise.withResolvers<void>();
      using _commit = this.#store.onCommit('events', resolve);
      using _poll = this.#clock.timer(limits.workPollMs, resolve, { background: true });
      using _abort = onAbort(options.signal, resolve);
      const rows = await this.#store.db
        .selectFrom('events')
        .selectAll()
        .where('seq', '>', after)
        .orderBy('seq')
        .limit(limits.pageSize)
        .execute();
      for (const row of rows) {
        after = row.seq;
        const { seq, at, name, subject } = row;
        yield { seq, at, name, subject, data: JSON.parse(row.data) as unknown } as LabEvent;
      }
      if (rows.length === limits.pageSize) continue;
      if (options.follow !== true) return;
      await changed;
    }
  }

  /** Tells listeners nothing more. The events stay in the store, and readers go on. */
  [Symbol.dispose](): void {
    this.#following?.abort();
    this.#following = undefined;
  }
}
