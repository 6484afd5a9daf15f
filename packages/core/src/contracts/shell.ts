import type { Duplex } from 'node:stream';
import type { PartialDownload } from '../model/partial-download.ts';
import type { Secret } from '../model/secret.ts';
import type { CallOptions } from './runtime.ts';

/** Where a shell connector connects to. */
export interface ShellTarget {
  /** Name for messages and for the look-up of the host key. */
  readonly hostname: string;
  /** Address to connect to. Default: `hostname`. */
  readonly address?: string;
  /** TCP port. Default 22. */
  readonly port?: number;
  /** Account on the target. */
  readonly username: string;
  /** Path of a private key on this machine. Default: the agent and the usual key files. */
  readonly keyPath?: string;
  /** Passphrase of that key. */
  readonly passphrase?: Secret;
  /** Password, for targets that take no key. */
  readonly password?: Secret;
}

/** How a process ended: exactly one of the two is set. */
export interface ExitStatus {
  /** Exit code, or null when a signal ended it. */
  readonly exitCode: number | null;
  /** Signal name such as `SIGTERM`, or null when it exited. */
  readonly signal: string | null;
}

/** Options of {@link ShellSession.spawn}. */
export interface SpawnOptions {
  /** Working directory on the target. Default: the account's home. */
  readonly cwd?: string;
  /** Variables added to the target's environment. Names match `[A-Za-z_][A-Za-z0-9_]*`. */
  readonly env?: Readonly<Record<string, string>>;
  /** Aborting it ends the process (TERM, then KILL) and the call with `aborted`. */
  readonly signal?: AbortSignal;
}

/** Options of {@link ShellSession.exec}. */
export interface ExecOptions extends SpawnOptions, CallOptions {
  /** Bytes fed to standard input, which is closed afterwards. Default: empty. */
  readonly stdin?: string | Uint8Array;
  /** More output than this ends the process and fails with `command-failed`. Default 8 MiB for both streams together. */
  readonly maxOutputBytes?: number;
}

/** What a finished command said. */
export interface ExecResult extends ExitStatus {
  /** Standard output, byte for byte. */
  readonly stdout: Buffer;
  /** Standard error, byte for byte. */
  readonly stderr: Buffer;
}

/** A process on the target with its streams. */
export interface ShellProcess extends AsyncDisposable {
  /** Standard output; back-pressure reaches the process. Leaving the loop drops the rest. */
  readonly stdout: AsyncIterable<Uint8Array>;
  /** Standard error, as `stdout`. Unread standard error never blocks the process. */
  readonly stderr: AsyncIterable<Uint8Array>;
  /** Writes to standard input; resolves when the target's window has room again. */
  write(data: Uint8Array): Promise<void>;
  /** Closes standard input. */
  end(): Promise<void>;
  /** Sends a signal to the process and its children. */
  kill(signal: 'SIGINT' | 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** Settles when the process has ended; rejects with `connection-lost` when that can't be known. */
  readonly exited: Promise<ExitStatus>;
}

/** Bytes that can be read from any offset, more than once. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Lower-case hex SHA-256 of all bytes, when it is known already. */
  readonly sha256?: string;
  /** The bytes from `offset` (default 0) to the end. */
  read(offset?: number): AsyncIterable<Uint8Array>;
}

/** Progress of a transfer. */
export interface TransferProgress {
  readonly transferredBytes: number;
  readonly totalBytes: number;
}

/** Options of uploads and downloads. */
export interface TransferOptions extends CallOptions {
  /** Called at most about ten times a second, and at the end. */
  readonly onProgress?: (progress: TransferProgress) => void;
}

/** Options of {@link ShellSession.upload}. */
export interface UploadOptions extends TransferOptions {
  /** Permission bits of the file. Default 0o644. */
  readonly mode?: number;
  /**
   * Go on where an earlier upload of the same bytes to the same path was cut, where the connector can
   * do that and the source's `sha256` is known; the whole file is proven all the same. A cut then leaves
   * what had arrived beside the path. Default false: a cut leaves nothing behind.
   */
  readonly resume?: boolean;
}

/** Options of {@link ShellSession.download}. */
export interface DownloadOptions extends TransferOptions {
  /** Lower-case hex SHA-256 that the whole file must have. Default: the one computed on the target. */
  readonly sha256?: string;
  /**
   * Go on behind what earlier downloads of the file have brought: only the rest is yielded, and what
   * is yielded is added. Both together are proven to be the file; if they are not, because it has
   * changed in between, that is a `checksum-mismatch`, after which only a new one helps.
   */
  readonly resume?: PartialDownload;
}

/** What a finished transfer proved. */
export interface TransferReceipt {
  readonly sizeBytes: number;
  /** SHA-256 that both sides agree on: computed here over what was sent and there over what was stored. */
  readonly sha256: string;
}

/** Something on the target's side that a connection can be forwarded to. */
export type ForwardTarget = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/**
 * A connection to one target on which commands run and files move. Sessions are safe for
 * concurrent use. Commands are argv arrays of any bytes but NUL: quoting is the session's job. They
 * are text, sent as UTF-8; bytes that are none are put in by `argumentOfBytes`. Paths, folders and
 * variables are text.
 *
 * When the connection dies, every call under way rejects with `connection-lost` at once; nothing
 * hangs. Processes that were started on the target detached go on.
 */
export interface ShellSession extends AsyncDisposable {
  /**
   * Runs a command to its end. A non-zero exit is a result, not an error.
   * @throws `aborted`, `deadline-exceeded` (the process is ended in both cases), `connection-lost`,
   * `command-failed` (could not be started, or too much output).
   */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Starts a command and gives its streams. @throws as `exec`. */
  spawn(argv: readonly string[], options?: SpawnOptions): Promise<ShellProcess>;
  /**
   * Stores bytes under an absolute path on the target. They are written beside the path first,
   * flushed, hashed by the target, compared and only then renamed: the path holds the whole file
   * or what it held before. The parent folder must exist.
   * @throws `checksum-mismatch`, `disk-full`, `transfer-failed`, `connection-lost`, `aborted`,
   * `deadline-exceeded`.
   */
  upload(source: ByteSource, path: string, options?: UploadOptions): Promise<TransferReceipt>;
  /**
   * The bytes of a file on the target. The iteration ends normally only if the SHA-256 of what was
   * yielded equals the target's (and `options.sha256`); otherwise it throws `checksum-mismatch`. One
   * that is cut can be gone on with, see {@link DownloadOptions.resume}.
   * @throws also `not-found`, `transfer-failed`, `connection-lost`, `aborted`, `deadline-exceeded`.
   */
  download(path: string, options?: DownloadOptions): AsyncIterable<Uint8Array>;
  /** Opens a stream to a socket on the target's side. @throws `connection-failed`, `unsupported`. */
  forward(target: ForwardTarget, options?: CallOptions): Promise<Duplex>;
  /** Settles when the session has ended, with the reason when it was not disposed by us. Never rejects. */
  readonly closed: Promise<Error | undefined>;
}

/** Reaches targets by some protocol. One connector serves any number of targets. */
export interface ShellConnector extends AsyncDisposable {
  /** Name by which resources refer to it, such as `ssh` or `local`. */
  readonly name: string;
  /**
   * A session with the target. Connectors may share one connection between sessions; disposing a
   * session ends what that session started, disposing the connector ends them all.
   * @throws `connection-failed`, `authentication-failed`, `host-key-unknown`, `host-key-changed`,
   * `deadline-exceeded`, `aborted`.
   */
  connect(target: ShellTarget, options?: CallOptions): Promise<ShellSession>;
}
