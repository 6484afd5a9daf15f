import { BringupError, invalidInput, limits, textFault } from '@bringup/core';
import type { Clock, ExitStatus } from '@bringup/core';
import type { TargetName } from './errors.ts';
import type { SshProcess } from './process.ts';
import { scriptExit } from './scripts.ts';

/** What is quoted of a target's complaint. */
const maxSaidChars = 1_000;

/** The longest first line that a script of ours prints. */
const maxLineBytes = 256;

/** What a transfer needs of its session. */
export interface TransferContext {
  readonly clock: Clock;
  readonly target: TargetName;
  /** Starts a command; ends it again when the signal has aborted meanwhile. */
  readonly start: (argv: readonly string[], what: string, signal: AbortSignal) => Promise<SshProcess>;
}

/** @throws `invalid-input` for a path that depends on where a command runs, or is no text. */
export function absolutePath(path: string): void {
  const fault = path.startsWith('/') ? textFault(path) : 'must be absolute';
  if (fault !== undefined)
    throw invalidInput('transfer', [{ path: 'path', message: `${fault}: ${JSON.stringify(path)}` }]);
}

/** The first line of an output, which is short, and what came with it; undefined when there is none. */
export async function readLine(
  output: AsyncIterator<Uint8Array>,
  what: string,
): Promise<{ readonly line: string; readonly rest: Uint8Array } | undefined> {
  let head = Buffer.alloc(0);
  for (;;) {
    const end = head.subarray(0, maxLineBytes).indexOf(0x0a);
    if (end >= 0) return { line: head.toString('latin1', 0, end), rest: head.subarray(end + 1) };
    if (head.length >= maxLineBytes) throw notUnderstood(what);
    const { value } = await output.next();
    if (value === undefined) return undefined;
    head = Buffer.concat([head, value]);
  }
}

/** The target answers, but not as the script does that it was given. */
export function notUnderstood(what: string): BringupError {
  return new BringupError(
    'transfer-failed',
    `${what}: the target's answer is not understood. Does the account have a plain shell that says nothing by itself?`,
  );
}

/** A short text: the last of it, when a target goes on and on. */
export async function collectText(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    bytes += chunk.byteLength;
    while (bytes > limits.transferWordsBytes && parts.length > 1) bytes -= parts.shift()?.byteLength ?? 0;
  }
  return Buffer.concat(parts).subarray(-limits.transferWordsBytes).toString();
}

/** The error for a transfer script that did not end well. */
export function transferError(
  what: string,
  path: string,
  status: ExitStatus,
  stderr: string,
  hashes: { readonly expected?: string | undefined; readonly actual?: string | undefined },
): BringupError {
  const said = (stderr.trim().split('\n').at(-1) ?? '').slice(0, maxSaidChars);
  const details = { path, exitCode: status.exitCode, signal: status.signal };
  if (/No space left|Disk quota exceeded/i.test(stderr)) {
    return new BringupError('disk-full', `${what}: the target's disk is full. Free some space in that file system.`, {
      details,
    });
  }
  switch (status.exitCode) {
    case scriptExit.notFound:
      return new BringupError('not-found', `${what}: there is no such file.`, { details });
    case scriptExit.mismatch:
    case 0:
      return checksumMismatch(what, path, hashes.expected, hashes.actual);
    default:
      return new BringupError(
        'transfer-failed',
        `${what}: ${said === '' ? `the target's script ended with ${status.signal ?? status.exitCode}` : said}.`,
        { details, retryable: status.exitCode === scriptExit.incomplete },
      );
  }
}

/** Two sides that do not have the same bytes. */
export function checksumMismatch(
  what: string,
  path: string,
  expected: string | undefined,
  actual: string | undefined,
): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `${what}: the SHA-256 is ${actual ?? 'unknown'}, not ${expected ?? 'known'}. The bytes changed on the way or while they were read.`,
    { retryable: true, details: { path, expected: expected ?? null, actual: actual ?? null } },
  );
}
