import { Cleanup } from '../cleanup.ts';
import { ConsoleSession } from '../consoles/console-session.ts';
import { ConsoleShell } from '../consoles/console-shell.ts';
import type { Console } from '../contracts/console.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { LogWriter } from '../work/logs.ts';

/** What {@link ConsoleShells} need. */
export interface ConsoleShellsOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Gets every byte the console says. */
  readonly log: LogWriter;
  /** Account to log in as when the machine asks. */
  readonly user: string;
}

/** A shell on a console, opened when it is first needed and, once it was closed, anew. */
export class ConsoleShells implements AsyncDisposable {
  readonly #open: () => Promise<Console>;
  readonly #options: ConsoleShellsOptions;
  #current: { readonly shell: ConsoleShell; readonly owned: Cleanup } | undefined;

  constructor(open: () => Promise<Console>, options: ConsoleShellsOptions) {
    this.#open = open;
    this.#options = options;
  }

  /** @throws those of the console and of {@link ConsoleShell.open}. */
  async get(): Promise<ConsoleShell> {
    if (this.#current !== undefined) return this.#current.shell;
    const { clock, signal, log, user } = this.#options;
    await using stack = new Cleanup();
    const console = stack.use(await this.#open());
    const session = stack.use(new ConsoleSession({ console, clock, sink: (bytes) => log.append(bytes) }));
    const shell = await ConsoleShell.open({ session, signal, clock, login: { user }, interrupt: true });
    this.#current = { shell, owned: stack.move() };
    return shell;
  }

  /** Closes the console; the next {@link ConsoleShells.get} opens it again. */
  async close(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    await current?.owned[Symbol.asyncDispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
