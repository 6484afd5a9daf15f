import type { CallOptions } from '../contracts/runtime.ts';
import type { ShellSession } from '../contracts/shell.ts';
import { BringupError } from '../errors.ts';

/** Runs a command that must go well. Gives what it printed. @throws `flash-failed` with what it said. */
export async function run(
  session: ShellSession,
  argv: readonly string[],
  what: string,
  call: CallOptions,
): Promise<string> {
  const { exitCode, signal, stdout, stderr } = await session.exec(argv, call);
  if (exitCode === 0) return stdout.toString('utf8');
  throw commandFailed(what, exitCode ?? signal, stderr.toString('utf8') || stdout.toString('utf8'));
}

/** The end of what a process says. */
export async function textOf(output: AsyncIterable<Uint8Array>): Promise<string> {
  let text = '';
  for await (const chunk of output) text = (text + Buffer.from(chunk).toString('utf8')).slice(-4096);
  return text;
}

/** The `flash-failed` of a command, with the last it said. */
export function commandFailed(what: string, ended: number | string | null, said: string): BringupError {
  // `dd` counts what it copied after it said what went wrong.
  const lines = said
    .trim()
    .split('\n')
    .filter((line) => !/^\d+\+\d+ records|bytes.*copied/.test(line));
  const detail = lines.slice(-3).join('; ') || `it ended with ${ended}`;
  return new BringupError('flash-failed', `${what}: ${detail}`, { retryable: true, details: { ended, said: detail } });
}

/** The `checksum-mismatch` of a slot. */
export function mismatch(slot: string, expected: string | undefined, actual: string, how: string): BringupError {
  return new BringupError(
    'checksum-mismatch',
    `slot ${slot} should hold SHA-256 ${expected ?? 'of all bytes'}, but ${actual} ${how}; flash it again`,
    { retryable: true, details: { slot, expected: expected ?? null, actual } },
  );
}
