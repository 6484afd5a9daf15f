import { BringupError, isBringupError, type ErrorDetails } from '../errors.ts';

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

/**
 * A text with `[secret]` in the place of each of these: what was told a secret may repeat it, and its words get into
 * errors and logs. Empty secrets are left alone.
 */
export function hideSecrets(text: string, ...secrets: readonly (Secret | undefined)[]): string {
  return secrets.reduce((left, secret) => {
    const value = secret?.reveal() ?? '';
    return value === '' ? left : left.replaceAll(value, String(secret));
  }, text);
}

/** As {@link hideSecrets}, for all that an error says; without its cause, which is foreign. Other values are left alone. */
export function hideSecretsIn(error: unknown, ...secrets: readonly (Secret | undefined)[]): unknown {
  if (!isBringupError(error)) return error;
  const hide = (text: string): string => hideSecrets(text, ...secrets);
  const { code, message, retryable } = error;
  const details = JSON.parse(JSON.stringify(error.details), (_key, value: unknown) =>
    typeof value === 'string' ? hide(value) : value,
  ) as ErrorDetails;
  return new BringupError(code, hide(message), { retryable, details });
}
