/**
 * Every error the SDK raises on purpose, by its stable code. Codes are part of the public
 * contract: programs branch on them, messages are for people and may change.
 */
export const errorCodes = [
  'invalid-input',
  'not-found',
  'conflict',
  'unsupported',
  'aborted',
  'deadline-exceeded',
  'connection-failed',
  'connection-lost',
  'authentication-failed',
  'host-key-unknown',
  'host-key-changed',
  'command-failed',
  'dependency-missing',
  'toolchain-missing',
  'insufficient-resources',
  'source-missing',
  'commit-not-found',
  'build-failed',
  'process-lost',
  'output-missing',
  'path-escape',
  'disk-full',
  'storage-full',
  'transfer-failed',
  'checksum-mismatch',
  'artifact-not-found',
  'artifact-corrupted',
  'architecture-mismatch',
  'no-match',
  'unavailable',
  'maintenance',
  'hypervisor-failed',
  'console-busy',
  'console-history-lost',
  'console-closed',
  'boot-failed',
  'boot-timeout',
  'tests-failed',
  'tests-incomplete',
  'power-failed',
  'flash-failed',
  'policy-violation',
  'approval-required',
  'delivery-failed',
  'lease-lost',
  'store-failed',
  'internal',
] as const;

/** One of the stable error codes, see {@link errorCodes}. */
export type ErrorCode = (typeof errorCodes)[number];

/** JSON-safe facts about an error. Never holds a secret. */
export type ErrorDetails = { readonly [key: string]: JsonValue };

/** Anything that survives a round trip through JSON. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/** What may be given beside the code and the message of a {@link BringupError}. */
export interface BringupErrorOptions {
  /** The foreign or inner error this one explains. */
  readonly cause?: unknown;
  /** Whether the same call may succeed later without anybody changing anything. Default false. */
  readonly retryable?: boolean;
  /** JSON-safe facts for programs; never secrets. */
  readonly details?: ErrorDetails;
}

/** An error as it is kept in the store and in events: no stack, no secrets. */
export interface StoredError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retryable: boolean;
  readonly details: ErrorDetails;
}

/**
 * The one error class of the SDK. Branch on `code`, never on the message.
 *
 * Mistakes of the calling program (a wrong type, a method on a disposed object) throw `TypeError`
 * instead, and an expected "no" (nothing free right now) is a result with reasons, not an error.
 */
export class BringupError extends Error {
  /** Stable code, see {@link errorCodes}. */
  readonly code: ErrorCode;
  /** Whether trying the same again later can help. */
  readonly retryable: boolean;
  /** JSON-safe facts: which host, path, signature, requirement. */
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: BringupErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'BringupError';
    this.code = code;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
  }

  /** The form that is stored and sent: without stack and cause. */
  toJSON(): StoredError {
    return { code: this.code, message: this.message, retryable: this.retryable, details: this.details };
  }
}

/** One thing that is wrong with an input, and where. */
export interface InputIssue {
  /** Dotted path of the field, such as `hosts.0.sshPort`; empty for the whole input. */
  readonly path: string;
  /** What is wrong with it, for a person. */
  readonly message: string;
}

/** The `invalid-input` error: one issue per field. */
export function invalidInput(what: string, issues: readonly InputIssue[]): BringupError {
  const lines = issues.map((issue) => `${issue.path === '' ? '(input)' : issue.path}: ${issue.message}`);
  return new BringupError('invalid-input', `${what} is not valid: ${lines.join('; ')}`, {
    details: { issues: issues.map(({ path, message }) => ({ path, message })) },
  });
}

/** The `not-found` error of a thing that has an id. */
export function notFound(what: string, id: string): BringupError {
  return new BringupError('not-found', `there is no ${what} ${id}`, { details: { id } });
}

/**
 * Whether `error` is a {@link BringupError}, optionally with one of the given codes. Recognises
 * errors from another copy of the package too.
 */
export function isBringupError(error: unknown, ...codes: readonly ErrorCode[]): error is BringupError {
  if (!(error instanceof Error) || error.name !== 'BringupError' || !('code' in error)) return false;
  return codes.length === 0 || codes.includes((error as BringupError).code);
}

/** Any thrown value as a {@link BringupError}: ours unchanged, foreign ones wrapped as `code`. */
export function toBringupError(error: unknown, code: ErrorCode = 'internal'): BringupError {
  if (isBringupError(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new BringupError(code, message, { cause: error });
}

/** Rebuilds an error from its stored form. */
export function fromStoredError(stored: StoredError): BringupError {
  return new BringupError(stored.code, stored.message, stored);
}
