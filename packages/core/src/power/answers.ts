import { withDeadline } from '../async.ts';
import { comesUpOnConsole } from '../consoles/console-answers.ts';
import type { Clock } from '../contracts/runtime.ts';
import { limits } from '../limits.ts';
import type { Board } from '../model/resource.ts';
import type { Connectors } from '../pool/connectors.ts';

/** A board that answers, as far as it can tell which boot of it does. */
export interface Answer {
  /** The kernel's id of this boot; absent where only the console answers, or it has none. */
  readonly bootId?: string;
}

/** Whether there is a way to ask the board anything. */
export function canBeAsked({ hostname, serialDevice }: Board): boolean {
  return hostname !== undefined || serialDevice !== undefined;
}

/**
 * Asks a board whether it is there: by its shell where it has one, otherwise on its console, where what
 * it says counts once it was quiet and got a newline. Undefined when it does not answer in time.
 */
export async function askBoard(
  connectors: Connectors,
  board: Board,
  { clock, signal, timeoutMs = limits.boardAnswerMs }: { clock: Clock; signal: AbortSignal; timeoutMs?: number },
): Promise<Answer | undefined> {
  try {
    return await withDeadline(clock, `asking ${board.name}`, { signal, timeoutMs }, (inner) =>
      board.hostname === undefined
        ? askConsole(connectors, board, clock, inner)
        : askShell(connectors, board, board.hostname, inner),
    );
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

async function askShell(connectors: Connectors, board: Board, hostname: string, signal: AbortSignal): Promise<Answer> {
  await using session = await connectors.openShell({ ...board, hostname }, { signal });
  const { exitCode, stdout } = await session.exec(['cat', '/proc/sys/kernel/random/boot_id'], { signal });
  const bootId = stdout.toString('utf8').trim();
  return exitCode === 0 && bootId !== '' ? { bootId } : {};
}

async function askConsole(connectors: Connectors, board: Board, clock: Clock, signal: AbortSignal): Promise<Answer> {
  await using console = await connectors.openConsole(board, { signal });
  await comesUpOnConsole(console, clock, signal);
  return {};
}
