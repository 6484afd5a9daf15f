import { abortedError } from '../async.ts';
import type { Clock, Timer } from '../contracts/runtime.ts';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock } from '../runtime.ts';
import { FailureScanner, type FailureReport, type OpenReport } from './failure-report.ts';
import { parsePrintk } from './console-text.ts';
import { KernelMessageFilter } from './kernel-messages.ts';
import { LineSplitter, type ConsoleLine } from './line-splitter.ts';
import { compilePattern, type CompiledPattern, type Pattern } from './patterns.ts';
import { defaultSignatures, type FailureSignature } from './signatures.ts';

/** What a boot is judged by. */
export interface BootCriteria {
  /** The boot has succeeded when a line matches one of these, a prompt without line end included. */
  readonly success: readonly Pattern[];
  /** Default {@link defaultSignatures}; see {@link selectSignatures}. */
  readonly signatures?: readonly FailureSignature[];
  /** The least severity that fails the boot. Default `fatal`. */
  readonly failOn?: 'fatal' | 'warning';
  /** From the start to the success pattern. Default `limits.bootTimeoutMs`. */
  readonly timeoutMs?: number;
  /** From the start to the first byte. Default `limits.bootSilenceMs`. */
  readonly silenceMs?: number;
}

/** {@link BootCriteria} and what a watch runs on. */
export interface BootWatchOptions extends BootCriteria {
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** When the machine was started, in the clock's time; a resumed watch says when it really was. Default: now. */
  readonly startedAt?: number;
  /** Ends the watch: `outcome` rejects with `aborted`. */
  readonly signal?: AbortSignal;
}

/** What every outcome of a boot tells. */
export interface BootFacts {
  /** Bytes the console said. */
  readonly bytes: number;
  /** From the start to the outcome. */
  readonly elapsedMs: number;
  /** Reports that did not decide the outcome, at most `limits.bootReportsMax`. */
  readonly warnings: readonly FailureReport[];
}

/** How a boot ended. `offset` and `bytes` count from the start of the console. */
export type BootOutcome = BootFacts &
  (
    | { readonly type: 'booted'; readonly pattern: string; readonly line: string; readonly offset: number }
    | { readonly type: 'failed'; readonly report: FailureReport }
    | { readonly type: 'timeout'; readonly lastLine: string }
    | { readonly type: 'silent' }
    | { readonly type: 'ended'; readonly lastLine: string }
  );

type Verdict = BootOutcome extends infer Outcome
  ? Outcome extends BootFacts
    ? Omit<Outcome, keyof BootFacts>
    : never
  : never;

/**
 * Judges a boot by what its console says. Feed it every byte, in order, after the byte was logged;
 * await `outcome`. After a fatal signature it goes on listening until the report is complete.
 */
export class BootWatch implements Disposable {
  /** Settles once. Rejects with `aborted` only: every way a boot can go is an outcome. */
  readonly outcome: Promise<BootOutcome>;

  readonly #clock: Clock;
  readonly #startedAt: number;
  readonly #success: readonly CompiledPattern[];
  readonly #failOnWarnings: boolean;
  readonly #scanner: FailureScanner;
  readonly #splitter = new LineSplitter();
  readonly #programs = new KernelMessageFilter();
  readonly #warnings: FailureReport[] = [];
  readonly #resolve: (outcome: BootOutcome) => void;
  readonly #reject: (error: BringupError) => void;
  readonly #signal: AbortSignal | undefined;
  #timers: { deadline?: Timer; silence?: Timer; quiet?: Timer; report?: Timer } = {};
  #open: OpenReport | undefined;
  #bytes = 0;
  #lastLine = '';
  #settled = false;

  /** @throws `invalid-input` without a success pattern or with a malformed one. */
  constructor(options: BootWatchOptions) {
    if (options.success.length === 0)
      throw invalidInput('Boot watch', [{ path: 'success', message: 'needs at least one pattern' }]);
    this.#clock = options.clock ?? systemClock;
    const now = this.#clock.now();
    // A start that is yet to come was written by a clock that is ahead.
    this.#startedAt = Math.min(options.startedAt ?? now, now);
    this.#success = options.success.map(compilePattern);
    this.#failOnWarnings = options.failOn === 'warning';
    this.#scanner = new FailureScanner(options.signatures ?? defaultSignatures);
    const { promise, resolve, reject } = Promise.withResolvers<BootOutcome>();
    this.outcome = promise;
    this.#resolve = resolve;
    this.#reject = reject;
    // Whoever disposes of the watch early need not listen to its outcome.
    promise.catch(() => {});
    this.#signal = options.signal;
    this.#signal?.addEventListener('abort', this.#onAbort, { once: true });
    this.#timers.deadline = this.#timer(options.timeoutMs ?? limits.bootTimeoutMs, () => this.#onDeadline());
    this.#timers.silence = this.#timer(options.silenceMs ?? limits.bootSilenceMs, () =>
      this.#settle({ type: 'silent' }),
    );
    if (this.#signal?.aborted === true) this.#onAbort();
  }

  /** Whether the outcome is known. */
  get settled(): boolean {
    return this.#settled;
  }

  /** Takes the next bytes of the console. Ignored once the outcome is known. */
  feed(chunk: Uint8Array): void {
    if (this.#settled || chunk.length === 0) return;
    this.#bytes += chunk.length;
    this.#timers.silence?.[Symbol.dispose]();
    if (this.#isFatal(this.#open)) this.#restartQuiet();
    for (const line of this.#splitter.feed(chunk)) this.#line(line);
    this.#partial();
  }

  /** The console is gone for good. */
  end(): void {
    if (this.#settled) return;
    for (const line of this.#splitter.end()) this.#line(line);
    if (this.#isFatal(this.#open)) this.#fail();
    else this.#settle({ type: 'ended', lastLine: this.#lastLine });
  }

  /** Stops watching. An outcome that is not known yet rejects with `aborted`. */
  [Symbol.dispose](): void {
    if (!this.#settled) this.#onAbort();
  }

  readonly #onAbort = (): void => {
    this.#stop();
    this.#reject(abortedError('watching the boot', this.#signal));
  };

  #line(line: ConsoleLine): void {
    if (this.#settled) return;
    if (line.text !== '') this.#lastLine = line.text;
    if (this.#open?.add(line) === true) this.#close();
    if (this.#isSettled()) return;
    if (!this.#isFatal(this.#open)) this.#lookForFailure(line);
    const whole = this.#programs.push(line.text).find((part) => part.joined)?.text;
    // A prompt with a kernel message right behind it may never get a rest.
    this.#lookForSuccess(line.offset, line.text, whole ?? this.#programs.peek('').held);
  }

  #lookForFailure(line: ConsoleLine): void {
    const report = this.#scanner.scan(line);
    if (report === undefined) return;
    if (this.#open !== undefined) this.#close();
    this.#open = report;
    if (this.#isFatal(report)) {
      this.#restartQuiet();
      this.#timers.report = this.#clock.timer(limits.bootReportMaxMs, () => this.#fail());
    } else if (report.isOneLine) this.#close();
  }

  #partial(): void {
    const partial = this.#settled ? undefined : this.#splitter.partial;
    if (partial === undefined) return;
    if (partial.text !== '') this.#lastLine = partial.text;
    const { held, program } = this.#programs.peek(partial.text);
    this.#lookForSuccess(partial.offset, partial.text, held + program);
  }

  #lookForSuccess(offset: number, line: string, joined: string | undefined): void {
    if (this.#isSettled() || this.#isFatal(this.#open)) return;
    const texts = new Set([
      line,
      parsePrintk(line)?.message ?? line,
      joined === undefined || joined === '' ? line : joined,
    ]);
    for (const pattern of this.#success) {
      for (const text of texts) {
        if (pattern.find(text) === undefined) continue;
        if (this.#open !== undefined) this.#close();
        this.#settle({ type: 'booted', pattern: pattern.label, line: text, offset });
        return;
      }
    }
  }

  #isFatal(report: OpenReport | undefined): boolean {
    return report !== undefined && (report.signature.severity === 'fatal' || this.#failOnWarnings);
  }

  /** Closing and failing settle the watch behind the type checker's back. */
  #isSettled(): boolean {
    return this.#settled;
  }

  #close(): void {
    if (this.#isFatal(this.#open)) {
      this.#fail();
      return;
    }
    if (this.#open !== undefined && this.#warnings.length < limits.bootReportsMax)
      this.#warnings.push(this.#open.finish());
    this.#open = undefined;
  }

  #fail(): void {
    if (this.#open !== undefined) this.#settle({ type: 'failed', report: this.#open.finish() });
  }

  #onDeadline(): void {
    if (this.#isFatal(this.#open)) this.#fail();
    else if (this.#bytes === 0) this.#settle({ type: 'silent' });
    else this.#settle({ type: 'timeout', lastLine: this.#lastLine });
  }

  #restartQuiet(): void {
    this.#timers.quiet?.[Symbol.dispose]();
    this.#timers.quiet = this.#clock.timer(limits.bootReportQuietMs, () => this.#fail());
  }

  #settle(verdict: Verdict): void {
    if (this.#settled) return;
    this.#stop();
    const facts = { bytes: this.#bytes, elapsedMs: this.#clock.now() - this.#startedAt, warnings: [...this.#warnings] };
    this.#resolve({ ...facts, ...verdict });
  }

  #stop(): void {
    this.#settled = true;
    for (const timer of Object.values(this.#timers)) timer[Symbol.dispose]();
    this.#timers = {};
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #timer(afterStartMs: number, fire: () => void): Timer {
    return this.#clock.timer(Math.max(0, this.#startedAt + afterStartMs - this.#clock.now()), fire);
  }
}

/**
 * Watches a console until the boot's outcome is known, then leaves the console alone.
 * @throws `aborted`, or what the console throws: a broken connection says nothing about the boot.
 */
export async function watchBoot(output: AsyncIterable<Uint8Array>, options: BootWatchOptions): Promise<BootOutcome> {
  using watch = new BootWatch(options);
  const iterator = output[Symbol.asyncIterator]();
  const pump = async (): Promise<BootOutcome> => {
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      watch.feed(next.value);
      if (watch.settled) break;
    }
    watch.end();
    return await watch.outcome;
  };
  try {
    return await Promise.race([watch.outcome, pump()]);
  } finally {
    // An iterator that waits for bytes answers only when some come, so nobody waits for it here.
    void Promise.resolve(iterator.return?.()).catch(() => {});
  }
}

/**
 * The error of a boot that did not succeed.
 * @returns `boot-failed` for a failure report or a console that ended, `boot-timeout` for a machine
 * that took too long or never spoke; `undefined` when it booted.
 */
export function bootError(outcome: BootOutcome): BringupError | undefined {
  const { elapsedMs, bytes } = outcome;
  switch (outcome.type) {
    case 'booted':
      return undefined;
    case 'failed': {
      const { signature, kind, title, lines, offset } = outcome.report;
      const message = `the boot failed (${signature}) at byte ${offset} of the console: ${title}`;
      return new BringupError('boot-failed', message, {
        details: { signature, kind, title, offset, excerpt: lines, elapsedMs },
      });
    }
    case 'timeout':
      return new BringupError(
        'boot-timeout',
        `no success pattern within ${elapsedMs} ms; the console's last line is: ${outcome.lastLine}`,
        { retryable: true, details: { lastLine: outcome.lastLine, bytes, elapsedMs } },
      );
    case 'silent':
      return new BringupError(
        'boot-timeout',
        `the console said nothing at all for ${elapsedMs} ms; check its wiring, baud rate and the kernel's console= argument`,
        { retryable: true, details: { bytes, elapsedMs, silent: true } },
      );
    case 'ended':
      return new BringupError(
        'boot-failed',
        `the console ended before a success pattern; its last line is: ${outcome.lastLine}`,
        { details: { lastLine: outcome.lastLine, bytes, elapsedMs, ended: true } },
      );
  }
}
