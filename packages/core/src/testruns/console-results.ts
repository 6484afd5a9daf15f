import { onAbort } from '../async.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { HeardConsole } from '../deployments/target.ts';
import { limits } from '../limits.ts';
import type { ConsoleTests } from '../model/test-run.ts';
import type { FailureReport } from '../consoles/failure-report.ts';
import { Reconnects } from '../work/session.ts';
import { KernelFailures } from './kernel-failures.ts';
import { TapParser, type TapParserOptions } from './tap-parser.ts';
import type { TestReport } from './test-report.ts';

/** What {@link readConsoleResults} needs. */
export interface ConsoleResultsOptions extends Pick<TapParserOptions, 'onResult'> {
  readonly config: ConsoleTests;
  /**
   * Opens the console where it was left; called again when the way to it breaks. `complete`: nothing more is waited for
   * but its silence.
   */
  readonly open: (complete: boolean) => Promise<HeardConsole>;
  /** What the console said before, in order. */
  readonly before: AsyncIterable<Uint8Array>;
  /** Gets each new byte before it is looked at. */
  readonly keep: (bytes: Uint8Array) => Promise<void>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** What a machine said about its tests and about itself. */
export interface ConsoleResults {
  readonly report: TestReport;
  /** The kernel failed while the tests ran. */
  readonly kernelFailure?: FailureReport;
}

/**
 * Reads the results that a machine prints by itself; of one that was booted anew, those of that boot. Over when the console ends; when all that was
 * planned is there, or the kernel has failed, and the console is quiet; or when the signal aborts.
 */
export async function readConsoleResults(options: ConsoleResultsOptions): Promise<ConsoleResults> {
  const { clock, signal, config } = options;
  const newParser = (): TapParser =>
    new TapParser(options.onResult === undefined ? {} : { onResult: options.onResult });
  let parser = newParser();
  let kernel = new KernelFailures();
  const complete = (): boolean => parser.settled || kernel.first !== undefined;
  const feed = (bytes: Uint8Array): void => {
    parser.feed(bytes);
    kernel.feed(bytes);
  };
  for await (const bytes of options.before) feed(bytes);
  const { promise: over, resolve } = Promise.withResolvers<'over'>();
  let quiet: Disposable | undefined;
  const listen = (): void => {
    quiet?.[Symbol.dispose]();
    quiet = complete() ? clock.timer(config.quietMs ?? limits.testQuietMs, () => resolve('over')) : undefined;
  };
  using _abort = onAbort(signal, () => resolve('over'));
  const ended = new AbortController();
  const until = AbortSignal.any([signal, ended.signal]);
  const pump = async (): Promise<void> => {
    const reconnects = new Reconnects(clock, until, ['console-busy']);
    for (;;) {
      try {
        const { console: opened, anew } = await options.open(complete());
        await using console = opened;
        if (anew) {
          parser = newParser();
          kernel = new KernelFailures();
          listen();
        }
        using _over = onAbort(until, () => void console[Symbol.asyncDispose]());
        for await (const bytes of console.output) {
          reconnects.succeeded();
          await options.keep(bytes);
          feed(bytes);
          listen();
        }
        return;
      } catch (error) {
        await reconnects.pauseAfter(error);
      }
    }
  };
  listen();
  const pumping = pump();
  try {
    await Promise.race([over, pumping]);
  } finally {
    quiet?.[Symbol.dispose]();
    ended.abort();
    // The abort closes the console; a failure of the pump came out of the race already.
    await pumping.catch(() => undefined);
  }
  const report = parser.end();
  return kernel.first === undefined ? { report } : { report, kernelFailure: kernel.first };
}
