import { throwIfAborted } from '../async.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import type { ShellConnector, ShellSession, ShellTarget } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { startDeadline } from '../local/deadline.ts';
import { systemClock } from '../runtime.ts';
import { builtInCommands } from './memory-commands.ts';
import { MemoryHost } from './memory-host.ts';
import type { MemoryCommand } from './memory-process.ts';
import { MemorySession } from './memory-session.ts';

/** Options of {@link memoryShell}. */
export interface MemoryShellOptions {
  /** Default `memory`. */
  readonly name?: string;
  /** Time for deadlines and `sleep`. Default: the machine's clock. */
  readonly clock?: Clock;
  /** Commands by `argv[0]`, beside the built-in ones or instead of them. */
  readonly commands?: Readonly<Record<string, MemoryCommand>>;
  /** What `sh -c SCRIPT name args...` does, by the exact text of the script. */
  readonly scripts?: ReadonlyMap<string, MemoryCommand>;
}

/** A shell connector in memory, for unit tests of programs that use the SDK. */
export interface MemoryShell extends ShellConnector {
  /** The target of that host name; it is made, with an empty file system, when it is first named. */
  host(hostname: string): MemoryHost;
  /** Commands by `argv[0]`; more can be added at any time. */
  readonly commands: Map<string, MemoryCommand>;
  /** Behaviours of known scripts by their text; more can be added at any time. */
  readonly scripts: Map<string, MemoryCommand>;
}

/**
 * A {@link ShellConnector} whose targets are in memory. It passes the same contract suite as the
 * real ones: back-pressure, signals, deadlines, checked transfers and lost connections included.
 * There is no shell behind it: commands are JavaScript functions, and of scripts it knows those that
 * were registered. A command it does not know exits with 127.
 *
 * @example
 * ```ts
 * const shell = memoryShell({ commands: { make: ({ stdout }) => stdout.write('  CC main.o\n') } });
 * shell.host('build1').fs.writeFile('/tmp/Makefile', 'all:\n');
 * shell.host('build1').faults.hang = true;
 * ```
 */
export function memoryShell(options: MemoryShellOptions = {}): MemoryShell {
  return new InMemoryShell(options);
}

class InMemoryShell implements MemoryShell {
  readonly name: string;
  readonly commands: Map<string, MemoryCommand>;
  readonly scripts: Map<string, MemoryCommand>;
  readonly #clock: Clock;
  readonly #hosts = new Map<string, MemoryHost>();
  readonly #sessions = new Set<MemorySession>();
  readonly #life = new AbortController();

  constructor({ name = 'memory', clock = systemClock, commands = {}, scripts = new Map() }: MemoryShellOptions) {
    this.name = name;
    this.#clock = clock;
    this.commands = new Map(Object.entries({ ...builtInCommands, ...commands }));
    this.scripts = new Map(scripts);
  }

  host(hostname: string): MemoryHost {
    const known = this.#hosts.get(hostname);
    if (known !== undefined) return known;
    const host = new MemoryHost(hostname, { clock: this.#clock, commands: this.commands, scripts: this.scripts });
    this.#hosts.set(hostname, host);
    return host;
  }

  async connect(target: ShellTarget, options: CallOptions = {}): Promise<ShellSession> {
    if (this.#life.signal.aborted) throw new TypeError('The memory shell connector has been disposed.');
    const { hostname, username } = target;
    const what = `Connecting to ${hostname}`;
    throwIfAborted(options.signal, what);
    using deadline = startDeadline(
      this.#clock,
      what,
      { timeoutMs: limits.connectTimeoutMs, ...options },
      this.#life.signal,
    );
    const host = this.host(hostname);
    if (host.faults.hang) await deadline.race(new Promise<never>(() => {}));
    if (host.faults.refuseConnection || host.isDown()) {
      throw new BringupError('connection-failed', `${hostname} refused the connection.`, {
        retryable: true,
        details: { hostname },
      });
    }
    if (host.faults.rejectAuthentication) {
      throw new BringupError('authentication-failed', `${hostname} does not let ${username} in.`, {
        details: { hostname, username },
      });
    }
    if (host.faults.failConnection !== undefined) throw host.faults.failConnection;
    const session = new MemorySession(this.#clock, host, username);
    this.#sessions.add(session);
    void session.closed.then(() => this.#sessions.delete(session));
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort(new BringupError('aborted', 'The memory shell connector was disposed.'));
    await Promise.all([...this.#sessions].map((session) => session[Symbol.asyncDispose]()));
  }
}
