import { throwIfAborted, abortedError, sleep, withDeadline } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import { ByteTap } from './byte-tap.ts';
import { Echo } from './echo.ts';
import { ExpectWindow, type ExpectMatch, type PassedLine } from './expect.ts';
import { compilePattern, type Pattern } from './patterns.ts';

/** What a {@link ConsoleSession} is made of. */
export interface ConsoleSessionOptions {
  readonly console: Console;
  /**
   * Gets every byte, in order, before anything else looks at it: the log. What it returns is waited
   * for; when it fails, the session ends with its error.
   */
  readonly sink?: (chunk: Uint8Array) => void | Promise<void>;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /**
   * Typed at a time before the echo is waited for. Default `limits.consoleTypeBytes`, for a UART; the consoles
   * of VMs take more.
   */
  readonly typeBytes?: number;
  /** Text that waits for an expect. Default `limits.consoleWindowBytes`. */
  readonly windowBytes?: number;
}

/** How an expect ended. `tail` is what the console said last, for a message. */
export type ExpectOutcome =
  | ({ readonly type: 'match' } & ExpectMatch)
  | { readonly type: 'timeout'; readonly tail: string }
  | { readonly type: 'end'; readonly tail: string; readonly error: BringupError | undefined };

/** Options of an expect. */
export interface ExpectOptions extends CallOptions {
  /** Gets each complete line that did not match, in order. */
  readonly onPassed?: (line: PassedLine) => void;
}

/**
 * The one reader of a console: logs every byte first, then lets programs expect and answer.
 * Disposing of it stops reading; the console itself stays with whoever opened it.
 */
export class ConsoleSession implements AsyncDisposable {
  /** Resolves when the console ended, broke, or the session was disposed of. Never rejects. */
  readonly ended: Promise<void>;
  readonly #console: Console;
  readonly #clock: Clock;
  readonly #sink: ((chunk: Uint8Array) => void | Promise<void>) | undefined;
  readonly #typeBytes: number;
  readonly #window: ExpectWindow;
  readonly #iterator: AsyncIterator<Uint8Array>;
  #disposed = false;
  #giveUp: (() => void) | undefined;
  #state: { readonly open: boolean; readonly error?: BringupError } = { open: true };
  #wake: (() => void) | undefined;
  #echo: Echo | undefined;
  #tap: ByteTap | undefined;

  constructor(options: ConsoleSessionOptions) {
    this.#console = options.console;
    this.#clock = options.clock ?? systemClock;
    this.#sink = options.sink;
    this.#typeBytes = options.typeBytes ?? limits.consoleTypeBytes;
    this.#window = new ExpectWindow(options.windowBytes === undefined ? {} : { maxBytes: options.windowBytes });
    this.#iterator = options.console.output[Symbol.asyncIterator]();
    this.ended = this.#pump();
  }

  /** Whether more may come. */
  get open(): boolean {
    return this.#state.open;
  }

  /** Sends text or bytes to the machine, as they are. @throws what the console's `write` throws. */
  async send(data: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    await this.#console.write(typeof data === 'string' ? Buffer.from(data) : data, options);
  }

  /**
   * Types text the way a careful person does: a few bytes, then the next ones when the machine has
   * echoed them, since a UART drops what it has no room for. Where nothing is echoed it goes on slowly.
   * @param options `timeoutMs` default `limits.execTimeoutMs`; without `echo` no echo is waited for.
   * @returns whether the machine echoes.
   * @throws what the console's `write` throws; `aborted`, `deadline-exceeded`.
   */
  async type(text: string, options: CallOptions & { readonly echo?: boolean } = {}): Promise<boolean> {
    if (this.#echo !== undefined) throw new TypeError('something is being typed into this console session already');
    const bytes = Buffer.from(text);
    const bounded = { timeoutMs: limits.execTimeoutMs, ...options };
    return withDeadline(this.#clock, 'typing into a console', bounded, async (signal) => {
      let echoes = options.echo ?? true;
      try {
        for (let at = 0; at < bytes.length; at += this.#typeBytes) {
          signal.throwIfAborted();
          const piece = bytes.subarray(at, at + this.#typeBytes);
          this.#echo = new Echo(piece);
          await this.#console.write(piece, { signal });
          if (echoes) echoes = await this.#echo.seen(this.#clock, signal);
          else await sleep(this.#clock, limits.consoleTypePauseMs, signal);
        }
        return echoes;
      } finally {
        this.#echo = undefined;
      }
    });
  }

  /** Sends a serial break. @throws `unsupported` where the carrier can't; `console-closed`, `connection-lost`. */
  async sendBreak(): Promise<void> {
    if (this.#console.sendBreak === undefined) {
      throw new BringupError(
        'unsupported',
        'this console can’t send a break; use a carrier that can, such as RFC 2217',
      );
    }
    await this.#console.sendBreak();
  }

  /**
   * Sends a magic SysRq (CONFIG_MAGIC_SYSRQ_SERIAL): a break, then the key: `b` restarts at once, `t` shows tasks,
   * `w` what is blocked.
   * @throws as `sendBreak`.
   */
  async sysRq(key: string, options: CallOptions = {}): Promise<void> {
    if (key.length !== 1) throw new TypeError('a SysRq is one key');
    await this.sendBreak();
    await this.send(key, options);
  }

  /**
   * Takes the console's bytes as they are, for a protocol such as YMODEM, until `use` has ended, the rest of an
   * unfinished line included: a protocol's first byte may be there already. They are logged, but no expect sees them.
   * @throws what `use` throws; TypeError while another does the same.
   */
  async raw<T>(use: (bytes: ByteTap) => Promise<T>): Promise<T> {
    if (this.#tap !== undefined) throw new TypeError('the bytes of this console session are taken already');
    const tap = new ByteTap(this.#clock);
    tap.push(Buffer.from(this.#window.takePartial()));
    if (!this.#state.open) tap.end(this.#state.error);
    this.#tap = tap;
    try {
      return await use(tap);
    } finally {
      this.#tap = undefined;
      // What came after the protocol's end is text again.
      const rest = tap.drain();
      if (rest.length > 0) this.#hear(rest);
    }
  }

  /**
   * Waits until the console says one of `patterns`, which may be in a line that has no end yet. Only
   * text that no earlier expect has consumed counts. One expect at a time.
   * @param options `timeoutMs` default `limits.execTimeoutMs`; running out of it is an outcome.
   * @throws `aborted`, `invalid-input` for a malformed pattern; TypeError for a second expect meanwhile.
   */
  async expect(patterns: readonly Pattern[], options: ExpectOptions = {}): Promise<ExpectOutcome> {
    if (this.#wake !== undefined) throw new TypeError('this console session already waits for something');
    throwIfAborted(options.signal, 'expecting on a console');
    const compiled = patterns.map(compilePattern);
    const { promise, resolve, reject } = Promise.withResolvers<ExpectOutcome>();
    let done = false;
    const settle = (outcome: ExpectOutcome): void => {
      done = true;
      resolve(outcome);
    };
    const look = (): void => {
      // What comes after the outcome belongs to the next expect.
      if (done) return;
      const match = this.#window.match(compiled, options.onPassed);
      if (match !== undefined) settle({ type: 'match', ...match });
      else if (!this.#state.open) settle({ type: 'end', tail: this.#window.tail, error: this.#state.error });
    };
    const onAbort = (): void => {
      done = true;
      reject(abortedError('expecting on a console', options.signal));
    };
    const timeoutMs = options.timeoutMs ?? limits.execTimeoutMs;
    using _timer = this.#clock.timer(timeoutMs, () => {
      if (!done) settle({ type: 'timeout', tail: this.#window.tail });
    });
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.#wake = look;
    try {
      look();
      return await promise;
    } finally {
      this.#wake = undefined;
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Stops reading. Pending expects end. The console is left open. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#giveUp?.();
    await this.ended;
  }

  async #pump(): Promise<void> {
    let error: BringupError | undefined;
    try {
      for (let chunk = await this.#next(); chunk !== undefined; chunk = await this.#next()) {
        const logged = this.#sink?.(chunk);
        if (logged !== undefined) await this.#unlessDisposed(logged);
        if (this.#tap === undefined) this.#hear(chunk);
        else this.#tap.push(chunk);
      }
    } catch (thrown) {
      error = toBringupError(thrown, 'connection-lost');
    }
    // A reader that waits for bytes may answer only when some come, so nobody waits for it here.
    void Promise.resolve(this.#iterator.return?.()).catch(() => {});
    this.#tap?.end(error);
    this.#window.end();
    this.#state = error === undefined ? { open: false } : { open: false, error };
    this.#wake?.();
  }

  #hear(chunk: Uint8Array): void {
    this.#echo?.hear(chunk);
    this.#window.feed(chunk);
    this.#wake?.();
  }

  async #next(): Promise<Uint8Array | undefined> {
    const next = await this.#unlessDisposed(this.#iterator.next());
    return next === undefined || next.done === true ? undefined : next.value;
  }

  /** Waits for `operation`, but not beyond disposal. Leaves nothing behind on a promise that lives on. */
  #unlessDisposed<T>(operation: Promise<T>): Promise<T | undefined> {
    if (this.#disposed) return Promise.resolve(undefined);
    return new Promise((resolve, reject) => {
      this.#giveUp = () => resolve(undefined);
      operation.then(resolve, reject);
    });
  }
}
