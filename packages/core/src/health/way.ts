import type { Hypervisor } from '../contracts/hypervisor.ts';
import type { CallOptions } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import type { Connection, Host } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';

interface Open<S> {
  readonly session: S;
  lost: boolean;
}

/**
 * The connections that looks at one resource go over. They stay open from look to look: connecting
 * costs a hundred times what a look does. Only one look uses them at a time.
 */
export class Way implements AsyncDisposable {
  readonly #connectors: Connectors;
  readonly #onLost: () => void;
  #shell: Open<ShellSession> | undefined;
  #hypervisor: Open<Hypervisor> | undefined;
  readonly #closing = new Set<Promise<unknown>>();

  /** @param onLost - called when a connection broke that was open. */
  constructor(connectors: Connectors, onLost: () => void) {
    this.#connectors = connectors;
    this.#onLost = onLost;
  }

  /** Whether a look would not have to connect first. */
  get isOpen(): boolean {
    return this.#shell?.lost === false;
  }

  /** @throws as {@link Connectors.openShell}. */
  async shell(connection: Connection, options: CallOptions): Promise<ShellSession> {
    if (this.#shell?.lost === false) return this.#shell.session;
    this.drop();
    const session = await this.#connectors.openShell(connection, options);
    this.#shell = this.#watch(session);
    return session;
  }

  /** @throws as {@link Connectors.openHypervisor}. */
  async hypervisor(host: Host, shell: ShellSession, options: CallOptions): Promise<Hypervisor> {
    if (this.#hypervisor?.lost === false) return this.#hypervisor.session;
    this.dropHypervisor();
    const session = await this.#connectors.openHypervisor(host, shell, options);
    this.#hypervisor = this.#watch(session);
    return session;
  }

  /** Lets go of all connections; the next look makes new ones. */
  drop(): void {
    this.dropHypervisor();
    this.#put(this.#shell);
    this.#shell = undefined;
  }

  /** Lets go of the connection to the hypervisor. */
  dropHypervisor(): void {
    this.#put(this.#hypervisor);
    this.#hypervisor = undefined;
  }

  #watch<S extends { readonly closed: Promise<unknown> }>(session: S): Open<S> {
    const open: Open<S> = { session, lost: false };
    void session.closed.then((reason) => {
      if (!open.lost && reason !== undefined) this.#onLost();
      open.lost = true;
    });
    return open;
  }

  #put(open: Open<AsyncDisposable> | undefined): void {
    if (open === undefined) return;
    open.lost = true;
    // Saying goodbye to a dead machine takes its time, which no look waits for.
    const closing = Promise.resolve(open.session[Symbol.asyncDispose]()).catch(() => undefined);
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.drop();
    await Promise.all(this.#closing);
  }
}
