import type { ConsoleConnector } from '../contracts/console.ts';
import type { FlashConnector } from '../contracts/flash.ts';
import type { HypervisorConnector } from '../contracts/hypervisor.ts';
import type { PowerConnector } from '../contracts/power.ts';
import type { Clock } from '../contracts/runtime.ts';
import type { ShellConnector } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';
import {
  linkedConsoles,
  linkedFlash,
  linkedHypervisor,
  linkedPower,
  linkedShell,
  type MemoryLink,
} from './memory-link.ts';
import type { MemoryNetwork } from './memory-network.ts';

/** Options of {@link MemoryController}. */
export interface MemoryControllerOptions {
  /** Default `process`. */
  readonly name?: string;
  /** What it reaches machines over. Default: it reaches them at once, always. */
  readonly network?: MemoryNetwork;
}

/**
 * The process a lab runs in, as far as it can be killed, stopped, and misled about the time: its timers,
 * and its connections to the targets, which it shares with other labs.
 */
export class MemoryController {
  readonly name: string;
  readonly #network: MemoryNetwork | undefined;
  readonly #connections = new Set<AsyncDisposable>();
  readonly #withheld: (() => void)[] = [];
  #clock: Clock | undefined;
  #resumed: PromiseWithResolvers<void> | undefined;
  #aheadMs = 0;
  #dead = false;

  constructor({ name = 'process', network }: MemoryControllerOptions = {}) {
    this.name = name;
    this.#network = network;
  }

  /** Whether it was killed. */
  get dead(): boolean {
    return this.#dead;
  }

  /** Whether it is stopped. */
  get stopped(): boolean {
    return this.#resumed !== undefined;
  }

  /** The clock, whose timers die with the process, and which may be wrong. */
  clock(shared: Clock): Clock {
    this.#clock ??= {
      now: () => shared.now() + this.#aheadMs,
      timer: (delayMs, fire, options) => {
        if (this.#dead) return { [Symbol.dispose]: () => undefined };
        let waiting = true;
        const act = (): void => {
          if (waiting && !this.#dead) fire();
        };
        const timer = shared.timer(
          delayMs,
          () => {
            if (this.stopped) this.#withheld.push(act);
            else act();
          },
          options,
        );
        return {
          [Symbol.dispose]: () => {
            waiting = false;
            timer[Symbol.dispose]();
          },
        };
      },
    };
    return this.#clock;
  }

  /** Stops it as SIGSTOP does: its timers, and the results of its calls, come when it goes on. */
  stop(): void {
    this.#resumed ??= Promise.withResolvers();
  }

  /** Lets it go on, all at once. */
  resume(): void {
    const resumed = this.#resumed;
    this.#resumed = undefined;
    resumed?.resolve();
    for (const act of this.#withheld.splice(0)) act();
  }

  /** Sets its wall clock ahead, or back. Timers are not moved by it. */
  jumpClock(byMs: number): void {
    this.#aheadMs += byMs;
  }

  /** Resolves at once unless it is stopped, then when it goes on; never once it is dead. */
  async running(): Promise<void> {
    while (this.#resumed !== undefined) await this.#resumed.promise;
    if (this.#dead) await new Promise<never>(() => {});
  }

  #link(): MemoryLink | undefined {
    return this.#clock && this.#network?.link(this, this.#clock);
  }

  /** The connector, whose sessions die with the process. Disposing of it ends this process's sessions only. */
  shell(machines: ShellConnector): ShellConnector {
    const held: ShellConnector = {
      name: machines.name,
      connect: async (target, options) => this.#own(await machines.connect(target, options)),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
    const linked = this.#over(held, linkedShell);
    return { ...linked, connect: (target, options) => this.#ifAlive(() => linked.connect(target, options)) };
  }

  /** As {@link MemoryController.shell}. */
  hypervisor(machines: HypervisorConnector): HypervisorConnector {
    const held: HypervisorConnector = {
      name: machines.name,
      connect: async (target, shell, options) => this.#own(await machines.connect(target, shell, options)),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
    const linked = this.#over(held, linkedHypervisor);
    return {
      ...linked,
      connect: (target, shell, options) => this.#ifAlive(() => linked.connect(target, shell, options)),
    };
  }

  /** As {@link MemoryController.shell}. */
  console(machines: ConsoleConnector): ConsoleConnector {
    const held: ConsoleConnector = {
      name: machines.name,
      open: async (target, options) => this.#hold(await machines.open(target, options)),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
    const linked = this.#over(held, linkedConsoles);
    return { ...linked, open: (target, options) => this.#ifAlive(() => linked.open(target, options)) };
  }

  /** As {@link MemoryController.shell}. */
  power(machines: PowerConnector): PowerConnector {
    const shared = this.#over(machines, linkedPower);
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
  flash(machines: FlashConnector): FlashConnector {
    const held: FlashConnector = {
      name: machines.name,
      open: async (target, options) => this.#hold(await machines.open(target, options)),
      [Symbol.asyncDispose]: () => this.#disconnect(),
    };
    const linked = this.#over(held, linkedFlash);
    return { ...linked, open: (target, options) => this.#ifAlive(() => linked.open(target, options)) };
  }

  /** Kills the process. */
  async kill(): Promise<void> {
    this.#dead = true;
    this.resume();
    await this.#disconnect();
  }

  #over<C>(machines: C, linked: (machines: C, link: MemoryLink) => C): C {
    const link = this.#link();
    return link === undefined ? machines : linked(machines, link);
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
    return this.#keep(session);
  }

  #own<S extends AsyncDisposable & { readonly closed: Promise<unknown> }>(session: S): S {
    void session.closed.then(() => this.#connections.delete(session));
    return this.#keep(session);
  }

  #keep<S extends AsyncDisposable>(session: S): S {
    if (this.#dead) void session[Symbol.asyncDispose]();
    else this.#connections.add(session);
    return session;
  }

  async #disconnect(): Promise<void> {
    await Promise.all([...this.#connections].map((connection) => connection[Symbol.asyncDispose]()));
  }
}
