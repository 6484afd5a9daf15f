import type { ShellSession } from '../contracts/shell.ts';

/** A session that is made when it is first needed, and made anew once it has ended. */
export class SessionHolder implements AsyncDisposable {
  readonly #open: () => Promise<ShellSession>;
  #current: { session: ShellSession; ended: boolean } | undefined;
  #opening: Promise<ShellSession> | undefined;

  constructor(open: () => Promise<ShellSession>) {
    this.#open = open;
  }

  /** A session that is not known to be broken. @throws those of the connector. */
  get(): Promise<ShellSession> {
    if (this.#current?.ended === false) return Promise.resolve(this.#current.session);
    this.#opening ??= this.#renew().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #renew(): Promise<ShellSession> {
    await this.#current?.session[Symbol.asyncDispose]();
    const session = await this.#open();
    const current = { session, ended: false };
    void session.closed.then(() => {
      current.ended = true;
    });
    this.#current = current;
    return session;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#opening?.catch(() => undefined);
    const current = this.#current;
    this.#current = undefined;
    await current?.session[Symbol.asyncDispose]();
  }
}
