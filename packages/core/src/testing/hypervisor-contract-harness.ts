import type { Console } from '../contracts/console.ts';
import type { Hypervisor, OpenConsoleOptions, VmEvent, VmSpec } from '../contracts/hypervisor.ts';
import { ConsoleReader } from './console-reader.ts';
import type { HypervisorContractFixture } from './hypervisor-contract-fixture.ts';

/** A console with its reader. */
export interface OpenedConsole {
  readonly console: Console;
  readonly reader: ConsoleReader;
  /** Sends text as UTF-8. */
  readonly say: (text: string) => Promise<void>;
}

/** The fixture of a running suite, with what its tests share. */
export class HypervisorHarness {
  readonly #setup: () => Promise<HypervisorContractFixture>;
  readonly #sessions: Hypervisor[] = [];
  readonly #names: string[] = [];
  #fixture: HypervisorContractFixture | undefined;
  #made = 0;

  constructor(setup: () => Promise<HypervisorContractFixture>) {
    this.#setup = setup;
  }

  async start(): Promise<void> {
    this.#fixture = await this.#setup();
  }

  async stop(): Promise<void> {
    await this.#fixture?.dispose();
  }

  get fixture(): HypervisorContractFixture {
    if (this.#fixture === undefined) throw new TypeError('The suite has not been set up.');
    return this.#fixture;
  }

  /** A new session, disposed after the test. */
  async session(): Promise<Hypervisor> {
    const session = await this.fixture.connect();
    this.#sessions.push(session);
    return session;
  }

  /** A VM of a name no other test uses, destroyed after the test. */
  spec(more: Partial<VmSpec> = {}): VmSpec {
    this.#made += 1;
    const name = `contract-${process.pid}-${this.#made}`;
    this.#names.push(name);
    return { ...this.fixture.spec, commandLine: 'console=ttyS0', tags: { reservation: `r-${name}` }, name, ...more };
  }

  /** A VM that has greeted, with its console open. */
  async greetedVm(
    hypervisor: Hypervisor,
    more: Partial<VmSpec> = {},
  ): Promise<OpenedConsole & { readonly name: string }> {
    const { name } = await hypervisor.createVm(this.spec(more));
    const opened = await openConsole(hypervisor, name);
    await hypervisor.startVm(name);
    await opened.reader.until('\r\n');
    return { ...opened, name };
  }

  /** Destroys the test's VMs, then disposes its sessions. */
  async cleanUp(): Promise<void> {
    const names = this.#names.splice(0);
    const sessions = this.#sessions.splice(0);
    if (names.length > 0) {
      const hypervisor = await this.fixture.connect();
      await Promise.all(names.map((name) => hypervisor.destroyVm(name)));
      await hypervisor[Symbol.asyncDispose]();
    }
    await Promise.all(sessions.map((session) => session[Symbol.asyncDispose]()));
  }
}

/** Opens a console and reads it. */
export async function openConsole(
  hypervisor: Hypervisor,
  name: string,
  options?: OpenConsoleOptions,
): Promise<OpenedConsole> {
  const console = await hypervisor.openConsole(name, options);
  return { console, reader: new ConsoleReader(console), say: (text) => console.write(new TextEncoder().encode(text)) };
}

/** What is told of one VM. */
export interface ToldEvents {
  readonly types: VmEvent['type'][];
  /** Settles as the loop over the events does. */
  readonly ended: Promise<void>;
  readonly leave: () => void;
}

/** Collects the events of one VM. Subscribed when it resolves. */
export async function follow(hypervisor: Hypervisor, name: string, signal?: AbortSignal): Promise<ToldEvents> {
  const types: VmEvent['type'][] = [];
  const iterator = hypervisor.events(signal === undefined ? {} : { signal })[Symbol.asyncIterator]();
  const read = async (): Promise<void> => {
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
      if (next.value.name === name) types.push(next.value.type);
    }
  };
  const ended = read();
  ended.catch(() => {});
  // A call that goes to the host and back: the subscription that was asked for before it is in place.
  await hypervisor.listVms();
  return { types, ended, leave: () => void iterator.return?.() };
}
