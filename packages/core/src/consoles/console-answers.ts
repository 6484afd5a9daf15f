import { abortedError, onAbort } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import type { Clock } from '../contracts/runtime.ts';
import { BringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import { freshLine } from './fresh-line.ts';

/**
 * Resolves when a machine says anything on its console after an empty line. The console is let go of when
 * the signal aborts, since a dead machine says nothing for ever.
 * @throws `connection-failed` when the console ends before, and those of the console.
 */
export async function answersOnConsole(console: Console, signal: AbortSignal): Promise<void> {
  using _abort = onAbort(signal, () => void console[Symbol.asyncDispose]());
  await console.write(Buffer.from(freshLine), { signal });
  for await (const bytes of console.output) if (bytes.byteLength > 0) return;
  throw signal.aborted ? abortedError('waiting for an answer on the console', signal) : ended();
}

/**
 * As {@link answersOnConsole}, of a machine that has just got power: while it talks it is listened to, since what is
 * typed into a boot could stop it; when it is quiet it is asked.
 */
export async function comesUpOnConsole(console: Console, clock: Clock, signal: AbortSignal): Promise<void> {
  using _abort = onAbort(signal, () => void console[Symbol.asyncDispose]());
  let asked = false;
  let failure: unknown;
  const ask = (): void => {
    asked = true;
    console.write(Buffer.from(freshLine), { signal }).catch((error: unknown) => {
      failure = error;
      void console[Symbol.asyncDispose]();
    });
  };
  let quiet = clock.timer(limits.consoleBootQuietMs, ask);
  try {
    for await (const bytes of console.output) {
      if (bytes.byteLength === 0) continue;
      if (asked) return;
      quiet[Symbol.dispose]();
      quiet = clock.timer(limits.consoleBootQuietMs, ask);
    }
  } finally {
    quiet[Symbol.dispose]();
  }
  throw signal.aborted ? abortedError('waiting for a board to come up', signal) : (failure ?? ended());
}

function ended(): BringupError {
  return new BringupError('connection-failed', 'its console ended without an answer', { retryable: true });
}
