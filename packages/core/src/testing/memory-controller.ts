import type { ConsoleConnector } from '../contracts/console.ts';
import type { FlashConnector } from '../contracts/flash.ts';
import type { HypervisorConnector } from '../contracts/hypervisor.ts';
import type { PowerConnector } from '../contracts/power.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { ShellConnector } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';

/**
 * The process a lab runs in, as far as it can be killed: its timers, and its connections to the
 * targets, which it shares with other labs.
 */
export class MemoryController {
  readonly #connections = new Set<AsyncDisposable>();
  #dead = false;

  /** The clock, whose timers die with the process. */
  clock(shared: Clock): Clock {
    return {
      now: () => shared.now(),
      timer: (delayMs, fire, options) => {
        if (this.#dead) return { [Symbol.dispose]: () => undefined };
        return shared.timer(
          delayMs,
          () => {
            if (!this.#dead) fire();
          },
          options,
        );
      },
    };
  }

  /** The connector, whose sessions die with the process. Disposing of it ends this process's sessions only. */
  shell(shared: ShellConnector): ShellConnector {
    return {
      name: shared.name,
      connect: async (target, options) => this.#own(await this.#ifAlive(() => shared.connect(target, options))),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
  }

  /** As {@link MemoryController.shell}. */
  hypervisor(shared: HypervisorConnector): HypervisorConnector {
    return {
      name: shared.name,
      connect: async (target, shell, options) =>
        this.#own(await this.#ifAlive(() => shared.connect(target, shell, options))),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
  }

  /** As {@link MemoryController.shell}. */
  console(shared: ConsoleConnector): ConsoleConnector {
    return {
      name: shared.name,
      open: async (target, options) => this.#hold(await this.#ifAlive(() => shared.open(target, options))),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
  }

  /** As {@link MemoryController.shell}. */
  power(shared: PowerConnector): PowerConnector {
    return {
      name: shared.name,
      methods: shared.methods,
      open: async (config, options) => {
        const outlet = await this.#ifAlive(() => shared.open(config, options));
        return this.#hold({
          on: (call) => this.#ifAlive(() => outlet.on(call)),
          off: (call) => this.#ifAlive(() => outlet.off(call)),
          state: (call) => this.#ifAlive(() => outlet.state(call)),
          [Symbol.asyncDispose]: () => outlet[Symbol.asyncDispose](),
        });
      },
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
  }

  /** As {@link MemoryController.shell}. */
  flash(shared: FlashConnector): FlashConnector {
    return {
      name: shared.name,
      open: async (target, options) => this.#hold(await this.#ifAlive(() => shared.open(target, options))),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
  }

  /** Kills the process. */
  async kill(): Promise<void> {
    this.#dead = true;
    await this.#disconnect();
  }

  async #ifAlive<T>(act: () => Promise<T>): Promise<T> {
    if (this.#dead) throw new BringupError('connection-failed', 'the process of this lab is dead');
    return act();
  }

  /** What is disposed of with the process, unless its owner does it before. */
  #hold<S extends AsyncDisposable>(session: S): S {
    const dispose = session[Symbol.asyncDispose].bind(session);
    session[Symbol.asyncDispose] = () => {
      this.#connections.delete(session);
      return dispose();
    };
    this.#connections.add(session);
    return session;
  }

  #own<S extends AsyncDisposable & { readonly closed: Promise<unknown> }>(session: S): S {
    this.#connections.add(session);
    void session.closed.then(() => this.#connections.delete(session));
    return session;
  }

  async #disconnect(): Promise<void> {
    await Promise.all([...this.#connections].map((connection) => connection[Symbol.asyncDispose]()));
  }
}
