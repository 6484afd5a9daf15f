import { abortedError, onAbort } from '../async.ts';
import type { Console } from '../contracts/console.ts';
import { BringupError } from '../errors.ts';

/**
 * Resolves when a machine says anything on its console after a newline. The console is let go of when
 * the signal aborts, since a dead machine says nothing for ever.
 * @throws `connection-failed` when the console ends before, and those of the console.
 */
export async function answersOnConsole(console: Console, signal: AbortSignal): Promise<void> {
  using _abort = onAbort(signal, () => void console[Symbol.asyncDispose]());
  await console.write(Buffer.from('\n'), { signal });
  for await (const bytes of console.output) if (bytes.byteLength > 0) return;
  if (signal.aborted) throw abortedError('waiting for an answer on the console', signal);
  throw new BringupError('connection-failed', 'its console ended without an answer', { retryable: true });
}
