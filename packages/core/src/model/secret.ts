/**
 * A value that must never be printed, logged or stored: a password, passphrase or token.
 * Turning it into a string or JSON gives `[secret]`, inspecting it shows nothing; only {@link Secret.reveal}
 * gives the value, so every place that reads one can be found by its name.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Hand it straight to the library that needs it. */
  reveal(): string {
    return this.#value;
  }

  /** Always `[secret]`. */
  toString(): string {
    return '[secret]';
  }

  /** Always `[secret]`. */
  toJSON(): string {
    return '[secret]';
  }
}
