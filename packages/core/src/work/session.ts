import { sleep } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { DownloadOptions, ShellSession } from '../contracts/shell.ts';
import { isBringupError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import { PartialDownload } from '../model/partial-download.ts';

/** A connection broke, could not be made or was too busy, which says nothing about what it was used for. */
const connectionTrouble: readonly ErrorCode[] = [
  'connection-lost',
  'connection-failed',
  'deadline-exceeded',
  'unavailable',
];

/** How often and how patiently a broken connection is made anew. */
export class Reconnects {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #held: readonly ErrorCode[];
  #failures = 0;

  /**
   * @param held - codes of errors that say that somebody else has it. That passes, too: when he is done, dies, or goes on after
   * he stood still and finds that it is not his any more.
   */
  constructor(clock: Clock, signal: AbortSignal, held: readonly ErrorCode[] = []) {
    this.#clock = clock;
    this.#signal = signal;
    this.#held = held;
  }

  /** The connection works: the next trouble is the first again. */
  succeeded(): void {
    this.#failures = 0;
  }

  /** Pauses before another try. @throws `error` when it is no connection trouble or there was too much of it. */
  async pauseAfter(error: unknown): Promise<void> {
    this.#failures += 1;
    const held = this.#held.length > 0 && isBringupError(error, ...this.#held);
    const passing = held || isBringupError(error, ...connectionTrouble);
    const most = held ? limits.heldAttempts : limits.reconnectAttempts;
    if (!passing || this.#failures > most || this.#signal.aborted) throw error;
    const doublings = Math.min(this.#failures, limits.reconnectAttempts) - 1;
    await sleep(this.#clock, limits.reconnectBackoffMs * 2 ** doublings, this.#signal);
  }
}

/** A session that is made when it is first needed, and made anew once it has ended. */
export class SessionHolder implements AsyncDisposable {
  readonly #open: () => Promise<ShellSession>;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #current: { session: ShellSession; ended: boolean } | undefined;
  #opening: Promise<ShellSession> | undefined;

  /** @param bounds - the time between reconnects, and what ends them. */
  constructor(open: () => Promise<ShellSession>, bounds: { readonly clock: Clock; readonly signal: AbortSignal }) {
    this.#open = open;
    this.#clock = bounds.clock;
    this.#signal = bounds.signal;
  }

  /**
   * Runs something that may be run again; when the connection breaks, it is, on a new one.
   * @throws what it throws, and those of the connector when the target stays out of reach.
   */
  async run<T>(act: (session: ShellSession) => Promise<T>): Promise<T> {
    const reconnects = new Reconnects(this.#clock, this.#signal);
    for (;;) {
      try {
        return await act(await this.get());
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  }

  /**
   * The bytes of a file on the target; when the connection breaks, they go on over a new one, behind
   * those that have come.
   * @throws as `ShellSession.download`, and those of the connector when the target stays out of reach.
   */
  async *download(path: string, options: Omit<DownloadOptions, 'resume'>): AsyncGenerator<Uint8Array, void, void> {
    const resume = new PartialDownload();
    const reconnects = new Reconnects(this.#clock, this.#signal);
    for (;;) {
      const from = resume.sizeBytes;
      try {
        yield* (await this.get()).download(path, { ...options, resume });
        return;
      } catch (error) {
        if (resume.sizeBytes > from) reconnects.succeeded();
        await reconnects.pauseAfter(error);
      }
    }
  }

  /** A session that is not known to be broken. @throws those of the connector. */
  get(): Promise<ShellSession> {
    if (this.#current?.ended === false) return Promise.resolve(this.#current.session);
    this.#opening ??= this.#renew().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #renew(): Promise<ShellSession> {
    await this.#current?.session[Symbol.asyncDispose]();
    const session = await this.#open();
    const current = { session, ended: false };
    void session.closed.then(() => {
      current.ended = true;
    });
    this.#current = current;
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening?.catch(() => undefined);
    const current = this.#current;
    this.#current = undefined;
    await current?.session[Symbol.asyncDispose]();
  }
}
