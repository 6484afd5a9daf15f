import type { CallOptions, Clock, Random } from '../contracts/runtime.ts';
import type { ByteSource, TransferProgress } from '../contracts/shell.ts';
import { BringupError, invalidInput } from '../errors.ts';
import { limits } from '../limits.ts';
import { systemClock, systemRandom } from '../runtime.ts';
import { consoleGone } from './console-login.ts';
import type { ConsoleSession, ExpectOutcome } from './console-session.ts';
import { freshLine } from './fresh-line.ts';
import { newMarker } from './marker.ts';
import type { Pattern } from './patterns.ts';
import { sendYmodem } from './ymodem.ts';

/** U-Boot's prompt, whatever a vendor put before the arrow. */
export const ubootPrompt: RegExp = /^\S*(?:=>|U-Boot>|uboot>) ?$/i;

const autobootPrompt = /(?:Hit any key|Press .{1,40}) to (?:stop|abort)|autoboot in \d+ second/i;
/** What a board says when it starts; `version` says it too. */
const banner = /^U-Boot (?:SPL |TPL )?\d{4}\.\d\d/;

/** How U-Boot is spoken to. */
export interface UBootOptions extends CallOptions {
  readonly session: ConsoleSession;
  /** Default {@link ubootPrompt}. */
  readonly prompt?: Pattern;
  /** What announces that it will boot by itself. Default: U-Boot's own words. */
  readonly autobootPrompt?: Pattern;
  /** What stops that. Default ^C; some boards want a word (CONFIG_AUTOBOOT_STOP_STR). */
  readonly interruptWith?: string;
  /** Default: the machine's clock. */
  readonly clock?: Clock;
  /** Default: the runtime's randomness. */
  readonly random?: Random;
  /** A console that says nothing for this long waits for input. Default `limits.consoleIdleMs`. */
  readonly idleMs?: number;
}

/** What a command of U-Boot came to. */
export interface UBootResult {
  readonly exitCode: number;
  /** What it said; lines end with LF. */
  readonly output: string;
}

/** What was loaded into memory. */
export interface UBootLoaded {
  readonly sizeBytes: number;
  /** Of the bytes as they are in memory; 8 digits of lower-case hex. */
  readonly crc32: string;
}

/**
 * U-Boot's command line (its hush shell) on a console. A board that restarts while a command runs is
 * noticed: that is an error, and the next command stops its autoboot again.
 */
export class UBoot {
  readonly #session: ConsoleSession;
  readonly #options: UBootOptions;
  readonly #clock: Clock;
  readonly #random: Random;
  #inStep = false;
  #echoes = true;
  #busy = false;

  private constructor(options: UBootOptions) {
    this.#options = options;
    this.#session = options.session;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? systemRandom;
  }

  /**
   * Waits for U-Boot, stops its autoboot, and makes sure that it answers. Switch the board on after the
   * console was opened: the time to stop it is short.
   * @param options `timeoutMs` default `limits.ubootTimeoutMs`.
   * @throws `deadline-exceeded`, `console-closed`, `connection-lost`, `aborted`.
   */
  static async open(options: UBootOptions): Promise<UBoot> {
    const uboot = new UBoot(options);
    await uboot.#reach(options);
    return uboot;
  }

  /**
   * Runs a command line. Values in it are quoted with {@link quoteUBoot}.
   * @param options `timeoutMs` default `limits.execTimeoutMs`; a command that takes longer gets a ^C.
   * @throws `command-failed` with `details.reset` when the board restarted; `deadline-exceeded`, `invalid-input`
   * for a line longer than `limits.ubootLineBytes`, `console-closed`, `connection-lost`, `aborted`.
   */
  async run(command: string, options: CallOptions = {}): Promise<UBootResult> {
    return this.#exclusive(options, () => this.#ask(command, options));
  }

  /** As `run`; a command that fails is an error. @throws `command-failed` too. */
  async mustRun(command: string, options: CallOptions = {}): Promise<string> {
    const { exitCode, output } = await this.run(command, options);
    if (exitCode === 0) return output;
    throw new BringupError('command-failed', `U-Boot's "${command}" failed: ${output.trim().slice(-500)}`, {
      details: { command, exitCode, output: output.slice(-2_000) },
    });
  }

  /** A variable of the environment; undefined when it is not set. */
  async getVariable(name: string, options: CallOptions = {}): Promise<string | undefined> {
    const { exitCode, output } = await this.run(`printenv ${quoteUBoot(name)}`, options);
    return exitCode === 0 ? output.slice(name.length + 1).replace(/\n$/, '') : undefined;
  }

  /** All variables that fit on a line each. */
  async environment(options: CallOptions = {}): Promise<ReadonlyMap<string, string>> {
    const output = await this.mustRun('printenv', options);
    const lines = output.split('\n').filter((line) => /^[^\s=]+=/.test(line));
    return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
  }

  /** Sets a variable, or takes it away; `saveEnvironment` keeps it over a restart. */
  async setVariable(name: string, value: string | undefined, options: CallOptions = {}): Promise<void> {
    await this.mustRun(`setenv ${quoteUBoot(name)}${value === undefined ? '' : ` ${quoteUBoot(value)}`}`, options);
  }

  /** Writes the environment to where the board keeps it. */
  async saveEnvironment(options: CallOptions = {}): Promise<void> {
    await this.mustRun('saveenv', options);
  }

  /** Gets an address by DHCP, without loading what the server offers; gives the address. */
  async dhcp(options: CallOptions = {}): Promise<string> {
    const bounded = { timeoutMs: limits.ubootNetworkMs, ...options };
    await this.setVariable('autoload', 'no', options);
    await this.mustRun('dhcp', bounded);
    return (await this.getVariable('ipaddr', options)) ?? '';
  }

  /**
   * Loads a file of a TFTP server to an address.
   * @param options `server` default: what DHCP or `serverip` says; `timeoutMs` default `limits.ubootLoadMs`.
   */
  async tftp(
    address: number,
    filename: string,
    options: CallOptions & { readonly server?: string } = {},
  ): Promise<UBootLoaded> {
    const { server, ...call } = options;
    const file = server === undefined ? filename : `${server}:${filename}`;
    await this.mustRun(`tftpboot ${hex(address)} ${quoteUBoot(file)}`, { timeoutMs: limits.ubootLoadMs, ...call });
    return this.#loaded(address, call);
  }

  /** Sends bytes over the console itself (YMODEM) to an address: for boards without a network. */
  async ymodem(
    address: number,
    source: ByteSource,
    options: CallOptions & { readonly onProgress?: (progress: TransferProgress) => void } = {},
  ): Promise<UBootLoaded> {
    const { onProgress, ...call } = options;
    const bounded = { timeoutMs: limits.ubootLoadMs, ...call };
    const command = `loady ${hex(address)}`;
    const transfer = async (signal: AbortSignal | undefined): Promise<void> => {
      await sendYmodem(this.#session, source, {
        ...(signal !== undefined && { signal }),
        ...(onProgress !== undefined && { onProgress }),
      });
    };
    const { exitCode, output } = await this.#exclusive(bounded, () =>
      this.#ask(command, bounded, { when: 'Ready for binary', act: transfer }),
    );
    if (exitCode !== 0) throw new BringupError('transfer-failed', `U-Boot's YMODEM failed: ${output.trim()}`);
    return this.#loaded(address, call);
  }

  /** The CRC-32 of memory; 8 digits of lower-case hex. */
  async crc32(address: number, sizeBytes: number, options: CallOptions = {}): Promise<string> {
    const output = await this.mustRun(`crc32 ${hex(address)} ${hex(sizeBytes)}`, {
      timeoutMs: limits.ubootLoadMs,
      ...options,
    });
    return /==>\s+([0-9a-f]{8})/i.exec(output)?.[1]?.toLowerCase() ?? '';
  }

  /** Starts something that does not come back, such as `boot` or `booti …`; what is said then is for others to hear. */
  async boot(command = 'boot', options: CallOptions = {}): Promise<void> {
    await this.#exclusive(options, async () => {
      this.#inStep = false;
      await this.#session.type(`${checked(command)}\n`, { ...options, echo: this.#echoes });
    });
  }

  /** Restarts the board and stops its autoboot again. */
  async reset(options: CallOptions = {}): Promise<void> {
    await this.boot('reset', options);
    await this.#reach(options);
  }

  async #loaded(address: number, options: CallOptions): Promise<UBootLoaded> {
    const sizeBytes = Number.parseInt((await this.getVariable('filesize', options)) ?? '', 16);
    if (!(sizeBytes >= 0)) throw new BringupError('transfer-failed', 'U-Boot does not say how much it loaded');
    return { sizeBytes, crc32: sizeBytes === 0 ? '00000000' : await this.crc32(address, sizeBytes, options) };
  }

  async #exclusive<T>(options: CallOptions, act: () => Promise<T>): Promise<T> {
    if (this.#busy) throw new TypeError('U-Boot is already running a command');
    this.#busy = true;
    try {
      if (!this.#inStep) await this.#reach(options.signal === undefined ? {} : { signal: options.signal });
      return await act();
    } finally {
      this.#busy = false;
    }
  }

  async #ask(
    command: string,
    { signal, timeoutMs = limits.execTimeoutMs }: CallOptions,
    during?: { readonly when: string; readonly act: (signal: AbortSignal | undefined) => Promise<void> },
  ): Promise<UBootResult> {
    const [begin, end] = [newMarker(this.#random), newMarker(this.#random)];
    const call = signal === undefined ? {} : { signal };
    const until = this.#clock.now() + timeoutMs;
    const line = checked(`echo ${begin.typed}; ${command}; echo ${end.typed} $? .`);
    const lines: string[] = [];
    let size = 0;
    const keep = ({ text }: { readonly text: string }): void => {
      size += text.length + 1;
      if (size <= limits.execMaxOutputBytes) lines.push(text);
    };
    this.#inStep = false;
    try {
      this.#echoes = await this.#session.type(`${line}\n`, { ...call, timeoutMs, echo: this.#echoes });
      if (during !== undefined) {
        await this.#await(command, [during.when], { ...call, until, keep });
        await during.act(signal);
      }
      const found = await this.#await(command, [{ regex: `${end.answer} (\\d{1,3}) \\.` }], { ...call, until, keep });
      this.#inStep = true;
      const output = lines.slice(lines.findIndex((text) => text.includes(begin.answer)) + 1);
      return { exitCode: Number(found.groups[1]), output: output.map((text) => `${text}\n`).join('') + found.before };
    } catch (error) {
      if (this.#session.open) await this.#session.send('\x03', { timeoutMs: limits.killGraceMs }).catch(() => {});
      throw error;
    }
  }

  /** Waits for a pattern, and for signs of a restart: a banner, and then a prompt or an autoboot. */
  async #await(
    command: string,
    patterns: readonly Pattern[],
    { until, keep, ...options }: CallOptions & { until: number; keep?: (line: { readonly text: string }) => void },
  ): Promise<Extract<ExpectOutcome, { type: 'match' }>> {
    const { prompt = ubootPrompt, autobootPrompt: autoboot = autobootPrompt } = this.#options;
    let restarted = false;
    for (;;) {
      const signs = restarted ? [autoboot, banner, prompt] : [autoboot, banner];
      const outcome = await this.#session.expect([...patterns, ...signs], {
        ...options,
        timeoutMs: Math.max(0, until - this.#clock.now()),
        ...(keep !== undefined && { onPassed: keep }),
      });
      if (outcome.type === 'end') throw consoleGone(outcome);
      if (outcome.type === 'timeout') {
        const hint = restarted ? '; the board seems to have restarted' : '';
        throw new BringupError(
          'deadline-exceeded',
          `U-Boot's "${command}" did not end in time${hint}: ${outcome.tail}`,
          { retryable: true, details: { command, tail: outcome.tail, reset: restarted } },
        );
      }
      if (outcome.index < patterns.length) return outcome;
      if (outcome.index === patterns.length + 1) {
        restarted = true;
        keep?.({ text: outcome.before + (outcome.groups[0] ?? '') });
        continue;
      }
      throw new BringupError('command-failed', `the board restarted while U-Boot ran "${command}"`, {
        retryable: true,
        details: { command, reset: true },
      });
    }
  }

  async #reach({ signal, timeoutMs = limits.ubootTimeoutMs }: CallOptions): Promise<void> {
    const { prompt = ubootPrompt, autobootPrompt: autoboot = autobootPrompt, interruptWith = '\x03' } = this.#options;
    const call = signal === undefined ? {} : { signal };
    const until = this.#clock.now() + timeoutMs;
    let answers: readonly string[] = [];
    let said = '';
    for (;;) {
      const outcome = await this.#session.expect([autoboot, ...answers, prompt], {
        ...call,
        timeoutMs: Math.max(0, Math.min(this.#options.idleMs ?? limits.consoleIdleMs, until - this.#clock.now())),
      });
      if (outcome.type === 'end') throw consoleGone(outcome);
      if (outcome.type === 'match' && outcome.index > 0 && outcome.index <= answers.length) break;
      if (this.#clock.now() >= until) {
        const tail = outcome.type === 'timeout' ? outcome.tail : outcome.before;
        throw new BringupError(
          'deadline-exceeded',
          `U-Boot did not answer within ${timeoutMs} ms; restart the board once its console is open. It says: ${tail}`,
          { retryable: true, details: { timeoutMs, tail } },
        );
      }
      if (outcome.type === 'match' && outcome.index === 0) await this.#session.send(interruptWith, call);
      else if (outcome.type === 'match') {
        const { typed, answer } = newMarker(this.#random);
        answers = [answer, ...answers].slice(0, 4);
        await this.#session.send(`echo ${typed}\n`, call);
      } else if (outcome.tail === said) await this.#session.send(freshLine, call);
      // Who is still talking is not asked anything.
      if (outcome.type === 'timeout') said = outcome.tail;
    }
    this.#inStep = true;
    this.#echoes = true;
  }
}

/**
 * One word for U-Boot's hush. Unlike in a POSIX shell, a backslash counts inside single quotes too.
 * @throws `invalid-input` for what a line can't hold: line ends and NUL.
 */
export function quoteUBoot(word: string): string {
  // oxlint-disable-next-line no-control-regex -- what a terminal would act on
  if (/[\x00-\x1f\x7f]/.test(word)) {
    throw invalidInput('U-Boot command', [{ path: '', message: 'a value can hold no control characters' }]);
  }
  if (/^[A-Za-z0-9_./:,+@%-]+$/.test(word)) return word;
  return `'${word.replaceAll('\\', String.raw`\\`).replaceAll("'", String.raw`'\''`)}'`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function checked(line: string): string {
  const bytes = Buffer.byteLength(line);
  if (bytes <= limits.ubootLineBytes && !line.includes('\n')) return line;
  throw invalidInput('U-Boot command', [
    {
      path: 'command',
      message: `must be one line of at most ${limits.ubootLineBytes} bytes, with what is put around it`,
    },
  ]);
}
