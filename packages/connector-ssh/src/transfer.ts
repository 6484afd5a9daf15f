import { BringupError, invalidInput, textFault } from '@bringup/core';
import type { Clock, ExitStatus } from '@bringup/core';
import type { TargetName } from './errors.ts';
import type { SshProcess } from './process.ts';
import { scriptExit } from './scripts.ts';

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

/** The first line of an output, and what came with it; undefined when there is none. */
export async function readLine(
  output: AsyncIterator<Uint8Array>,
): Promise<{ readonly line: string; readonly rest: Uint8Array } | undefined> {
  let head = Buffer.alloc(0);
  for (;;) {
    const end = head.indexOf(0x0a);
    if (end >= 0) return { line: head.toString('latin1', 0, end), rest: head.subarray(end + 1) };
    const { value } = await output.next();
    if (value === undefined) return undefined;
    head = Buffer.concat([head, value]);
  }
}

/** All of a short text. */
export async function collectText(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts).toString();
}

/** The error for a transfer script that did not end well. */
export function transferError(
  what: string,
  path: string,
  status: ExitStatus,
  stderr: string,
  hashes: { readonly expected?: string | undefined; readonly actual?: string | undefined },
): BringupError {
  const said = stderr.trim().split('\n').at(-1) ?? '';
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
