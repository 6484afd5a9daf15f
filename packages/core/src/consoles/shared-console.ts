import { onAbort } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import { BringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';

/** What a {@link SharedConsole} is made of. */
export interface SharedConsoleOptions {
  /** Name of the machine, for messages. */
  readonly name: string;
  /** The one console; it is closed with the shared one. */
  readonly console: Console;
  /**
   * Gets every byte, in order, before anybody else sees it: the log. What it returns is waited for;
   * when it fails, the console ends for everybody with its error.
   */
  readonly sink?: (chunk: Uint8Array) => void | Promise<void>;
  /** What is said while nobody drives is kept for the next driver up to this. Default `limits.consoleKeptBytes`. */
  readonly keptBytes?: number;
}

/** Options of {@link SharedConsole.watch}. */
export interface WatchConsoleOptions {
  /** Ends the watching. */
  readonly signal?: AbortSignal;
  /** What may wait for a slow watcher; then it loses the oldest. Default `limits.consoleWatcherBytes`. */
  readonly maxBytes?: number;
}

/** What a watcher of a console gets. Offsets count from the begin of the shared console. */
export type WatchedBytes =
  | { readonly type: 'bytes'; readonly offset: number; readonly bytes: Uint8Array }
  /** The watcher was too slow: so many bytes from `offset` on are gone. */
  | { readonly type: 'lost'; readonly offset: number; readonly lostBytes: number };

/**
 * One console for many: one drives it, any number watch. It is read all the time. A slow driver slows
 * the machine's console down and misses nothing; a slow watcher holds nobody up and is told what it lost.
 */
export class SharedConsole implements AsyncDisposable {
  /** Resolves when the console ended, broke or was closed. Never rejects. */
  readonly ended: Promise<void>;
  readonly #name: string;
  readonly #console: Console;
  readonly #sink: SharedConsoleOptions['sink'];
  readonly #keptBytes: number;
  readonly #watchers = new Set<Watcher>();
  #kept: Uint8Array[] = [];
  #keptSize = 0;
  #saidBytes = 0;
  #driver: AbortController | undefined;
  #end: { readonly error?: BringupError } | undefined;
  #disposed: Promise<void> | undefined;
  #wake = Promise.withResolvers<void>();

  constructor({ name, console, sink, keptBytes = limits.consoleKeptBytes }: SharedConsoleOptions) {
    this.#name = name;
    this.#console = console;
    this.#sink = sink;
    this.#keptBytes = keptBytes;
    this.ended = this.#pump();
  }

  /** Whether the console is open, or has something left that no driver has read. */
  get usable(): boolean {
    return this.#disposed === undefined && (this.#end === undefined || this.#keptSize > 0);
  }

  /** Whether somebody drives it. */
  get driven(): boolean {
    return this.#driver !== undefined;
  }

  /** Bytes it has said so far. */
  get saidBytes(): number {
    return this.#saidBytes;
  }

  /**
   * The right to type, and all that is said from where the last driver stopped, as far as that was
   * kept. Disposing of it makes room for the next driver and leaves the console open.
   * @throws `console-busy` while another drives, `console-closed`.
   */
  drive(): Console {
    if (!this.usable) throw this.#end?.error ?? this.#closed();
    if (this.#driver !== undefined) {
      throw new BringupError(
        'console-busy',
        `the console of ${this.#name} is held by somebody else; watch it, or wait until it is let go of`,
        { retryable: true },
      );
    }
    const driver = new AbortController();
    this.#driver = driver;
    const console = this.#console;
    const driving = async <T>(act: () => Promise<T>): Promise<T> => {
      if (driver.signal.aborted || this.#disposed !== undefined) throw this.#closed();
      return act();
    };
    return {
      output: once(() => this.#read(driver.signal)),
      write: (data, options) => driving(() => console.write(data, options)),
      ...(console.sendBreak !== undefined && {
        sendBreak: () => driving(() => console.sendBreak?.() ?? Promise.resolve()),
      }),
      [Symbol.asyncDispose]: async () => {
        if (driver.signal.aborted) return;
        driver.abort();
        this.#driver = undefined;
        this.#notify();
      },
    };
  }

  /**
   * What is said from now on. Ends with the console; leaving the loop ends the watching.
   * @throws from the iteration: what broke the console.
   */
  watch({ signal, maxBytes = limits.consoleWatcherBytes }: WatchConsoleOptions = {}): AsyncIterable<WatchedBytes> {
    const watcher = new Watcher(this.#saidBytes, maxBytes);
    if (this.#end === undefined) this.#watchers.add(watcher);
    else watcher.end(this.#end.error);
    const forget = (): void => void this.#watchers.delete(watcher);
    return once(() => watcher.read(signal, forget));
  }

  /** Closes the console for everybody. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= (async () => {
      this.#finish({});
      await this.#console[Symbol.asyncDispose]();
    })();
    return this.#disposed;
  }

  async #pump(): Promise<void> {
    try {
      for await (const chunk of this.#console.output) {
        if (this.#end !== undefined) return;
        if (chunk.byteLength === 0) continue;
        const bytes = Uint8Array.from(chunk);
        const logged = this.#sink?.(bytes);
        if (logged !== undefined) await Promise.race([logged, this.#closing()]);
        this.#tell(bytes);
        await this.#room();
      }
      this.#finish({});
    } catch (error) {
      this.#finish({ error: toBringupError(error, 'connection-lost') });
    }
  }

  #tell(bytes: Uint8Array): void {
    for (const watcher of this.#watchers) watcher.push(this.#saidBytes, bytes);
    this.#saidBytes += bytes.byteLength;
    this.#kept.push(bytes);
    this.#keptSize += bytes.byteLength;
    this.#notify();
  }

  /** Resolves once the console has been closed, a log that hangs or not. */
  async #closing(): Promise<void> {
    while (this.#end === undefined) await this.#wake.promise;
  }

  /** A driver that is slow slows the console down; without one, the oldest bytes go. */
  async #room(): Promise<void> {
    while (this.#keptSize > this.#keptBytes && this.#end === undefined) {
      if (this.#driver === undefined) this.#keptSize -= this.#kept.shift()?.byteLength ?? 0;
      else await this.#wake.promise;
    }
  }

  async *#read(signal: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
    using _abort = onAbort(signal, () => this.#notify());
    while (!signal.aborted && this.#disposed === undefined) {
      const chunk = this.#kept.shift();
      if (chunk !== undefined) {
        this.#keptSize -= chunk.byteLength;
        this.#notify();
        yield chunk;
      } else if (this.#end !== undefined) {
        if (this.#end.error !== undefined) throw this.#end.error;
        return;
      } else await this.#wake.promise;
    }
  }

  #finish(end: { readonly error?: BringupError }): void {
    if (this.#end !== undefined) return;
    this.#end = end;
    for (const watcher of this.#watchers) watcher.end(end.error);
    this.#watchers.clear();
    this.#notify();
  }

  #closed(): BringupError {
    return new BringupError('console-closed', `the console of ${this.#name} was closed`);
  }

  #notify(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }
}

/** One watcher's bounded share of a console. */
class Watcher {
  readonly #maxBytes: number;
  #chunks: Uint8Array[] = [];
  #size = 0;
  /** Where the first chunk starts. */
  #offset: number;
  #lostBytes = 0;
  #end: { readonly error: BringupError | undefined } | undefined;
  #wake: () => void = () => {};

  constructor(offset: number, maxBytes: number) {
    this.#offset = offset;
    this.#maxBytes = maxBytes;
  }

  push(offset: number, bytes: Uint8Array): void {
    if (this.#chunks.length === 0) this.#offset = offset;
    this.#chunks.push(bytes);
    this.#size += bytes.byteLength;
    while (this.#size > this.#maxBytes) this.#drop();
    this.#wake();
  }

  end(error: BringupError | undefined): void {
    this.#end = { error };
    this.#wake();
  }

  async *read(signal: AbortSignal | undefined, forget: () => void): AsyncGenerator<WatchedBytes, void, void> {
    using _abort = onAbort(signal, () => this.#wake());
    try {
      while (signal?.aborted !== true) {
        if (this.#lostBytes > 0) {
          const lostBytes = this.#lostBytes;
          this.#lostBytes = 0;
          yield { type: 'lost', offset: this.#offset - lostBytes, lostBytes };
          continue;
        }
        const bytes = this.#chunks.shift();
        if (bytes !== undefined) {
          const offset = this.#offset;
          this.#size -= bytes.byteLength;
          this.#offset += bytes.byteLength;
          yield { type: 'bytes', offset, bytes };
        } else if (this.#end === undefined) await new Promise<void>((resolve) => (this.#wake = resolve));
        else if (this.#end.error !== undefined) throw this.#end.error;
        else return;
      }
    } finally {
      forget();
    }
  }

  #drop(): void {
    const size = this.#chunks.shift()?.byteLength ?? 0;
    this.#size -= size;
    this.#offset += size;
    this.#lostBytes += size;
  }
}

/** Something that may be iterated once. */
function once<T>(start: () => AsyncIterator<T>): AsyncIterable<T> {
  let iterated = false;
  return {
    [Symbol.asyncIterator]() {
      if (iterated) throw new TypeError('this may be iterated once');
      iterated = true;
      return start();
    },
  };
}
