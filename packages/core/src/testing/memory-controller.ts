import type { HypervisorConnector } from '../contracts/hypervisor.ts';
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

  /** Kills the process. */
  async kill(): Promise<void> {
    this.#dead = true;
    await this.#disconnect();
  }

  async #ifAlive<T>(act: () => Promise<T>): Promise<T> {
    if (this.#dead) throw new BringupError('connection-failed', 'the process of this lab is dead');
    return act();
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
