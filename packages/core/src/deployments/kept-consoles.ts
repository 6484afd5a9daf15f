import { onAbort } from '../async.ts';
import { Cleanup } from '../cleanup.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';

/**
 * Consoles of boards that somebody will want to go on with. A board's console has no history: what it says
 * between the end of its boot and the begin of its tests would be lost. So a console that is let go
 * of is listened to for a while longer, and the next one who asks goes on where the last one stopped.
 */
export class KeptConsoles implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #kept = new Map<string, KeptConsole>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The board's console: the kept one where the last holder stopped, else a new one, from now on. */
  async take(
    boardId: string,
    name: string,
    open: (options: CallOptions) => Promise<Console>,
    options: CallOptions,
  ): Promise<Console> {
    const known = this.#kept.get(boardId);
    if (known !== undefined && known.usable) return known.hold();
    await known?.[Symbol.asyncDispose]();
    const console = new KeptConsole(name, await open(options), this.#clock, () => {
      if (this.#kept.get(boardId) === console) this.#kept.delete(boardId);
    });
    this.#kept.set(boardId, console);
    return console.hold();
  }

  /** Lets go of a console for good: what it says from now on is of no use to whoever held it. */
  async drop(boardId: string): Promise<void> {
    await this.#kept.get(boardId)?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = new Cleanup();
    for (const console of this.#kept.values()) all.use(console);
    await all[Symbol.asyncDispose]();
  }
}

/** One console that is read all the time, into a bounded buffer while nobody holds it. */
class KeptConsole implements AsyncDisposable {
  readonly #name: string;
  readonly #console: Console;
  readonly #clock: Clock;
  readonly #gone: () => void;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #holder: AbortController | undefined;
  #idle: Disposable | undefined;
  #ended: { readonly error?: unknown } | undefined;
  #disposed: Promise<void> | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(name: string, console: Console, clock: Clock, gone: () => void) {
    this.#name = name;
    this.#console = console;
    this.#clock = clock;
    this.#gone = gone;
    void this.#pump();
  }

  /** Whether there is more to come, or something left to read. */
  get usable(): boolean {
    return this.#disposed === undefined && (this.#ended === undefined || this.#unreadBytes > 0);
  }

  /** @throws `console-busy` while another holds it. */
  hold(): Console {
    if (this.#holder !== undefined) {
      throw new BringupError('console-busy', `the console of ${this.#name} is held by somebody else`, {
        retryable: true,
      });
    }
    this.#idle?.[Symbol.dispose]();
    const holder = new AbortController();
    this.#holder = holder;
    const console = this.#console;
    const held = <T>(act: () => Promise<T>): Promise<T> => {
      if (!holder.signal.aborted) return act();
      return Promise.reject(new BringupError('console-closed', `the console of ${this.#name} was closed`));
    };
    return {
      output: this.#read(holder.signal),
      write: (data, options) => held(() => console.write(data, options)),
      ...(console.sendBreak !== undefined && {
        sendBreak: () => held(() => console.sendBreak?.() ?? Promise.resolve()),
      }),
      [Symbol.asyncDispose]: () => this.#letGo(holder),
    };
  }

  async *#read(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    using _abort = onAbort(signal, () => this.#notify());
    while (!signal.aborted) {
      const chunk = this.#unread.shift();
      if (chunk !== undefined) {
        this.#unreadBytes -= chunk.byteLength;
        this.#notify();
        yield chunk;
      } else if (this.#ended !== undefined) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return;
      } else await this.#wake.promise;
    }
  }

  async #letGo(holder: AbortController): Promise<void> {
    if (holder.signal.aborted) return;
    holder.abort();
    this.#holder = undefined;
    if (this.#ended !== undefined) await this[Symbol.asyncDispose]();
    else {
      const close = (): void => void this[Symbol.asyncDispose]();
      this.#idle = this.#clock.timer(limits.consoleKeptMs, close, { background: true });
    }
  }

  async #pump(): Promise<void> {
    try {
      for await (const chunk of this.#console.output) {
        this.#unread.push(Uint8Array.from(chunk));
        this.#unreadBytes += chunk.byteLength;
        this.#notify();
        await this.#room();
      }
      this.#ended = {};
    } catch (error) {
      this.#ended = { error };
    }
    this.#notify();
  }

  /** A holder that is slow slows the console down; without one, the oldest bytes go. */
  async #room(): Promise<void> {
    while (this.#unreadBytes > limits.consoleKeptBytes && this.#disposed === undefined) {
      if (this.#holder !== undefined) {
        await this.#wake.promise;
        continue;
      }
      this.#unreadBytes -= this.#unread.shift()?.byteLength ?? 0;
    }
  }

  #notify(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= (async () => {
      this.#idle?.[Symbol.dispose]();
      this.#gone();
      this.#ended ??= {};
      this.#notify();
      await this.#console[Symbol.asyncDispose]();
    })();
    return this.#disposed;
  }
}
