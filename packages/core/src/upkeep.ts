import type { Clock, Logger } from './contracts/runtime.ts';
import type { SharedChore } from './store/chores.ts';

/** Something that has to be seen to again and again. */
export interface Chore {
  /** For the log, such as `looking after policies`. */
  readonly what: string;
  /** Between the end of one time and the beginning of the next. */
  readonly pauseMs: number;
  act(signal: AbortSignal): Promise<void>;
}

/** Does a chore again and again until it is disposed of; one that fails is tried again the next time. */
export function regularly(
  { what, pauseMs, act }: Chore,
  { clock, logger }: { readonly clock: Clock; readonly logger: Logger },
): AsyncDisposable {
  let timer: Disposable | undefined;
  const stopping = new AbortController();
  let acting: Promise<void> = Promise.resolve();
  const next = (): void => {
    if (stopping.signal.aborted) return;
    const fire = (): void => {
      acting = act(stopping.signal)
        .catch((error: unknown) => logger.warn({ error }, `${what} failed; trying again later`))
        .then(next);
    };
    timer = clock.timer(pauseMs, fire, { background: true });
  };
  next();
  return {
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      timer?.[Symbol.dispose]();
      await acting;
    },
  };
}

/**
 * Looks for what was left behind, one sort after the other, when it is time again: one process does it at a time. A sort
 * that could not be looked for holds up none of the others.
 */
export async function sweep(
  sorts: readonly Omit<Chore, 'pauseMs'>[],
  { turn, logger }: { readonly turn: SharedChore; readonly logger: Logger },
  signal: AbortSignal,
): Promise<void> {
  if (!(await turn.take())) return;
  for (const { what, act } of sorts) {
    if (signal.aborted) return;
    await act(signal).catch((error: unknown) => logger.warn({ error }, `${what} failed; trying again later`));
  }
}
