import { Cleanup } from '../cleanup.ts';
import { SharedConsole } from '../consoles/shared-console.ts';
import type { Console } from '../contracts/console.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { isBringupError } from '../errors.ts';
import { limits } from '../limits.ts';

/**
 * Consoles of boards that somebody will want to go on with. A board's console has no history: what it says
 * between the end of its boot and the begin of its tests would be lost. So a console that is let go
 * of is listened to for a while longer, and the next one who asks goes on where the last one stopped. Not one of work that was
 * stopped or that another process has by now: that one would find the console held by nobody who needs it.
 */
export class KeptConsoles implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #kept = new Map<string, KeptConsole>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * The kept one, where its last holder stopped, if there is one. `signal`: of the work it is for.
   * @throws `console-busy` while another holds it.
   */
  kept(boardId: string, signal: AbortSignal | undefined): Console | undefined {
    const known = this.#kept.get(boardId);
    return known?.usable === true ? known.hold(signal) : undefined;
  }

  /**
   * The board's console: the kept one where the last holder stopped, else a new one, from now on.
   * @throws `console-busy` while another holds it.
   */
  async take(
    boardId: string,
    name: string,
    open: (options: CallOptions) => Promise<Console>,
    options: CallOptions,
  ): Promise<Console> {
    const known = this.#kept.get(boardId);
    if (known?.usable === true) return known.hold(options.signal);
    await known?.[Symbol.asyncDispose]();
    const console = new KeptConsole(new SharedConsole({ name, console: await open(options) }), this.#clock, () => {
      if (this.#kept.get(boardId) === console) this.#kept.delete(boardId);
    });
    this.#kept.set(boardId, console);
    return console.hold(options.signal);
  }

  /** Lets go of a console for good: what it says from now on is of no use to whoever held it. */
  async drop(boardId: string): Promise<void> {
    await this.#kept.get(boardId)?.[Symbol.asyncDispose]();
  }

  /** As `drop`, unless somebody holds it. */
  async free(boardId: string): Promise<void> {
    const known = this.#kept.get(boardId);
    if (known?.held === false) await known[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = new Cleanup();
    for (const console of this.#kept.values()) all.use(console);
    await all[Symbol.asyncDispose]();
  }
}

/** A console that is closed a while after it was let go of. */
class KeptConsole implements AsyncDisposable {
  readonly #shared: SharedConsole;
  readonly #clock: Clock;
  readonly #gone: () => void;
  #idle: Disposable | undefined;

  constructor(shared: SharedConsole, clock: Clock, gone: () => void) {
    this.#shared = shared;
    this.#clock = clock;
    this.#gone = gone;
  }

  get usable(): boolean {
    return this.#shared.usable;
  }

  get held(): boolean {
    return this.#shared.driven;
  }

  hold(signal: AbortSignal | undefined): Console {
    const console = this.#shared.drive();
    this.#idle?.[Symbol.dispose]();
    const letGo = async (): Promise<void> => {
      await console[Symbol.asyncDispose]();
      // A holder that lets go twice must not start the clock of the next one.
      if (this.#shared.driven) return;
      this.#idle?.[Symbol.dispose]();
      if (!this.#shared.usable || isBringupError(signal?.reason)) return this[Symbol.asyncDispose]();
      const close = (): void => void this[Symbol.asyncDispose]();
      this.#idle = this.#clock.timer(limits.consoleKeptMs, close, { background: true });
    };
    return { ...console, [Symbol.asyncDispose]: letGo };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#idle?.[Symbol.dispose]();
    this.#gone();
    await this.#shared[Symbol.asyncDispose]();
  }
}
