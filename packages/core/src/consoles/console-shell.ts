import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import type { ByteSource, TransferOptions } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock, systemRandom } from '../runtime.ts';
import { getFile, putFile, type ConsolePutOptions, type ConsoleTransferReceipt } from './console-files.ts';
import { consoleGone, reachShell, type ConsoleLogin, type ReachShellOptions } from './console-login.ts';
import type { ConsoleSession } from './console-session.ts';
import type { ExpectMatch, PassedLine } from './expect.ts';
import { newMarker } from './marker.ts';
import { typedCommand, type TypedCommand } from './typed-command.ts';

/** How a {@link ConsoleShell} is opened. */
export interface ConsoleShellOptions extends CallOptions {
  readonly session: ConsoleSession;
  /** Used when the console asks for a login. */
  readonly login?: ConsoleLogin;
  /**
   * A shell that does not answer is interrupted (^C): what somebody left running there would swallow all that is typed.
   * Only for a machine that has booted. Default false.
   */
  readonly interrupt?: boolean;
  /** Keeps kernel messages off the console (`dmesg -n 1`) where the user may do that. Default true. */
  readonly quietKernel?: boolean;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: the runtime's randomness. */
  readonly random?: Random;
  /** A console that says nothing for this long waits for input. Default `limits.consoleIdleMs`. */
  readonly idleMs?: number;
}

/** Options of one command on a console. */
export interface ConsoleRunOptions extends CallOptions {
  /** Default `limits.execMaxOutputBytes`, in characters; later output is dropped. */
  readonly maxOutputBytes?: number;
  /**
   * What happens to lines that look like kernel messages: part of the output (`dmesg` prints such)
   * or noise. Default: `keep` once the kernel was told to be quiet, else `remove`.
   */
  readonly kernelMessages?: 'keep' | 'remove';
}

/** What a command on a console came to. */
export interface ConsoleRunResult {
  readonly exitCode: number;
  /** Both streams, as the terminal shows them: lines end with LF, no control characters. */
  readonly output: string;
  /** Output beyond the bound was dropped. */
  readonly truncated: boolean;
}

/**
 * A POSIX shell on a console. Every question carries a random marker that is typed in two halves, so
 * that the terminal's echo of the question is never taken for the answer, and that is found even when
 * a kernel message cuts into it.
 */
export class ConsoleShell {
  readonly #session: ConsoleSession;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #idleMs: number | undefined;
  #kernelIsQuiet = false;
  #inStep = true;
  /** Whether the terminal echoes what is typed: learned by typing, anew after each login. */
  #echoes = true;
  #busy = false;

  private constructor(options: ConsoleShellOptions) {
    this.#session = options.session;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
    this.#idleMs = options.idleMs;
  }

  /**
   * Waits for a shell on the console, logging in where it is asked to.
   * @param options `timeoutMs` default `limits.consoleShellTimeoutMs`.
   * @throws `authentication-failed`, `console-closed`, `connection-lost`, `deadline-exceeded`, `aborted`.
   */
  static async open(options: ConsoleShellOptions): Promise<ConsoleShell> {
    const shell = new ConsoleShell(options);
    await shell.#reach(options, options.login ?? {}, options.interrupt === true ? 'unanswered' : undefined);
    if (options.quietKernel ?? true) {
      const call = options.signal === undefined ? {} : { signal: options.signal };
      shell.#kernelIsQuiet =
        (await shell.run(['dmesg', '-n', '1'], { ...call, kernelMessages: 'remove' })).exitCode === 0;
    }
    return shell;
  }

  /**
   * Runs one command with no standard input and waits for it. A command that takes too long or is
   * aborted gets an interrupt (^C). One command at a time.
   * @param options `timeoutMs` default `limits.execTimeoutMs`.
   * @throws `deadline-exceeded`, `aborted`, `console-closed`, `connection-lost`, `invalid-input` for what is no
   * argument; TypeError while another command runs.
   */
  async run(argv: readonly string[], options: ConsoleRunOptions = {}): Promise<ConsoleRunResult> {
    if (this.#busy) throw new TypeError('this console shell is already running a command');
    const command = typedCommand(argv);
    this.#busy = true;
    try {
      // One interrupt can be lost: a shell that has just begun a command has not handed it the terminal yet.
      if (!this.#inStep) await this.#reach(options, {}, 'each time');
      return await this.#ask(command, argv[0] ?? '', options);
    } finally {
      this.#busy = false;
    }
  }

  /**
   * Stores bytes under an absolute path of the machine. They are typed as text, in blocks that the machine
   * checks, so neither kernel messages nor a line that drops bytes can damage the file; slow, about
   * a third of the line's speed. Needs `cksum` and `dd` there; uses `base64` and `sha256sum` if it has them.
   * @throws `checksum-mismatch`, `disk-full`, `transfer-failed`, and those of `run`.
   */
  put(source: ByteSource, path: string, options: ConsolePutOptions = {}): Promise<ConsoleTransferReceipt> {
    return putFile(this, source, path, options);
  }

  /**
   * The bytes of a file of the machine, as `put` moves them. Ends normally only if all of it is what the
   * machine has, with what that proved. No other command meanwhile.
   * @throws `not-found`, `checksum-mismatch`, `transfer-failed`, and those of `run`.
   */
  get(path: string, options: TransferOptions = {}): AsyncGenerator<Uint8Array, ConsoleTransferReceipt, void> {
    return getFile(this, path, options);
  }

  async #ask(typed: TypedCommand, name: string, options: ConsoleRunOptions): Promise<ConsoleRunResult> {
    const begin = newMarker(this.#random);
    const end = newMarker(this.#random);
    const timeoutMs = options.timeoutMs ?? limits.execTimeoutMs;
    const until = this.#clock.now() + timeoutMs;
    const removeNoise = (options.kernelMessages ?? (this.#kernelIsQuiet ? 'keep' : 'remove')) === 'remove';
    const output = new OutputCollector(options.maxOutputBytes ?? limits.execMaxOutputBytes, removeNoise);
    this.#inStep = false;
    try {
      // Output starts right behind the first marker and ends with the line end before the second one,
      // so it is known to the byte; the dot keeps half a number from being taken for the status.
      const call = options.signal === undefined ? {} : { signal: options.signal };
      const { before, command, after } = typed;
      const line = `printf %s ${begin.typed}; ${command} </dev/null; printf '\\n%s %s .\\n' ${end.typed} "$?"${after}\n`;
      for (const first of before) {
        this.#echoes = await this.#session.type(`${first}\n`, { ...call, timeoutMs, echo: this.#echoes });
      }
      this.#echoes = await this.#session.type(line, { ...call, timeoutMs, echo: this.#echoes });
      await this.#await(begin.answer, name, { ...options, timeoutMs: until - this.#clock.now() });
      const pattern = { regex: `${end.answer} (\\d{1,3}) \\.` };
      const found = await this.#await(pattern, name, { ...options, timeoutMs: until - this.#clock.now() }, output.add);
      this.#inStep = true;
      return { exitCode: Number(found.groups[1]), ...output.finish(removeNoise ? found.programBefore : found.before) };
    } catch (error) {
      if (this.#session.open) await this.#session.send('\x03', { timeoutMs: limits.killGraceMs }).catch(() => {});
      throw error;
    }
  }

  async #await(
    pattern: string | { readonly regex: string },
    name: string,
    options: CallOptions,
    onPassed?: (line: PassedLine) => void,
  ): Promise<ExpectMatch> {
    const outcome = await this.#session.expect([pattern], {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      timeoutMs: Math.max(0, options.timeoutMs ?? limits.execTimeoutMs),
      ...(onPassed === undefined ? {} : { onPassed }),
    });
    if (outcome.type === 'match') return outcome;
    if (outcome.type === 'end') throw consoleGone(outcome);
    throw new BringupError(
      'deadline-exceeded',
      `${name} on the console did not end in time; the console says: ${outcome.tail}`,
      { retryable: true, details: { command: name, tail: outcome.tail } },
    );
  }

  async #reach(options: CallOptions, login: ConsoleLogin, interrupt: ReachShellOptions['interrupt']): Promise<void> {
    await reachShell(this.#session, {
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      timeoutMs: options.timeoutMs ?? limits.consoleShellTimeoutMs,
      ...(this.#idleMs === undefined ? {} : { idleMs: this.#idleMs }),
      login,
      ...(interrupt !== undefined && { interrupt }),
      clock: this.#clock,
      probe: () => {
        const { typed, answer } = newMarker(this.#random);
        return { command: `echo ${typed}`, answer };
      },
    });
    this.#inStep = true;
    this.#echoes = true;
  }
}

/** Gathers the lines between two markers. */
class OutputCollector {
  readonly #max: number;
  readonly #removeNoise: boolean;
  readonly #lines: string[] = [];
  #size = 0;
  #truncated = false;

  constructor(max: number, removeNoise: boolean) {
    // Room for the line end that comes with the second marker.
    this.#max = max + 1;
    this.#removeNoise = removeNoise;
  }

  readonly add = (line: PassedLine): void => {
    this.#truncated ||= line.truncated;
    for (const text of this.#removeNoise ? line.programs : [line.text]) this.#push(`${text}\n`);
  };

  finish(rest: string): { readonly output: string; readonly truncated: boolean } {
    if (rest !== '') this.#push(rest);
    const output = this.#lines.join('');
    if (this.#truncated || rest !== '') return { output: output.slice(0, this.#max - 1), truncated: this.#truncated };
    return { output: output.slice(0, -1), truncated: false };
  }

  #push(text: string): void {
    const room = this.#max - this.#size;
    if (text.length > room) this.#truncated = true;
    if (room <= 0) return;
    this.#lines.push(text.slice(0, room));
    this.#size += Math.min(text.length, room);
  }
}
