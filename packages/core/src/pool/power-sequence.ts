import { elapsedSince, sleep, withDeadline } from '../async.ts';
import type { PowerOutlet } from '../contracts/power.ts';
import type { CallOptions, Clock } from '../contracts/runtime.ts';
import { BringupError, isBringupError, toBringupError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { PowerSequence } from '../model/power.ts';

/** A sequence with its defaults. */
export function fullSequence(sequence: PowerSequence = {}): Required<PowerSequence> {
  return { beforeOffMs: 0, offMs: limits.powerOffMs, afterOnMs: 0, recoveryMs: limits.boardRecoveryMs, ...sequence };
}

/** How one outlet is switched. */
export interface SwitchOptions {
  /** Name of the board, for messages. */
  readonly board: string;
  readonly open: (options: CallOptions) => Promise<PowerOutlet>;
  /** Called right before each try; throws when the power must not be touched any more. */
  readonly guard: () => Promise<void>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Trying again does not help against these. */
const lasting = [
  'authentication-failed',
  'invalid-input',
  'dependency-missing',
  'unsupported',
  'host-key-changed',
] as const;

/**
 * Switches an outlet and reads it back, a bounded number of times. A command goes out within `limits.powerCallMs` of the
 * guard's being asked or not at all, though this process stood still meanwhile: whoever has the board next waits no
 * longer than that for one of ours.
 * @throws `power-failed` when the outlet did not do it; what the guard throws; `aborted`.
 */
export async function switchOutlet(wanted: 'on' | 'off', options: SwitchOptions): Promise<void> {
  const { board, clock, signal } = options;
  for (let tries = 1; ; tries += 1) {
    const elapsed = await permitted(options);
    try {
      await switchOnce(wanted, options, elapsed);
      return;
    } catch (error) {
      signal.throwIfAborted();
      if (tries <= limits.powerRetries && !isBringupError(error, ...lasting)) {
        await sleep(clock, limits.powerRetryMs * 2 ** (tries - 1), signal);
        continue;
      }
      const { code, message } = toBringupError(error);
      throw new BringupError('power-failed', `the power of ${board} could not be switched ${wanted}: ${message}`, {
        cause: error,
        details: { board, wanted, code, tries },
      });
    }
  }
}

/** Off, on, and the sequence's pauses before each. */
export async function powerCycle(
  sequence: PowerSequence | undefined,
  { clock, signal }: Pick<SwitchOptions, 'clock' | 'signal'>,
  flip: (wanted: 'on' | 'off') => Promise<void>,
): Promise<void> {
  const { beforeOffMs, offMs } = fullSequence(sequence);
  await sleep(clock, beforeOffMs, signal);
  await flip('off');
  await sleep(clock, offMs, signal);
  await flip('on');
}

/** Asks the guard until it answers in time for a command to follow. Gives how long ago it was asked. */
async function permitted({ guard, clock }: SwitchOptions): Promise<() => number> {
  for (;;) {
    const elapsed = elapsedSince(clock, clock.now());
    await guard();
    if (elapsed() < limits.powerCallMs / 2) return elapsed;
  }
}

async function switchOnce(wanted: 'on' | 'off', options: SwitchOptions, elapsed: () => number): Promise<void> {
  const { board } = options;
  const beforeSending = (): void => {
    if (elapsed() < limits.powerCallMs) return;
    throw new BringupError(
      'aborted',
      `${board} was to be switched ${wanted} ${elapsed()} ms ago: it may be somebody else's`,
    );
  };
  const outlet = await bounded(`reaching the outlet of ${board}`, options, options.open);
  try {
    const left = { ...options, timeoutMs: limits.powerCallMs - elapsed() };
    await bounded(`switching ${board} ${wanted}`, left, (call) => outlet[wanted]({ ...call, beforeSending }));
    const state = await bounded(`reading the outlet of ${board}`, options, (call) => outlet.state(call));
    if (state === 'unknown' || state === wanted) return;
    throw new BringupError('power-failed', `it was switched ${wanted}, but reads back ${state}`, {
      details: { board, wanted, state },
    });
  } finally {
    await bounded(`closing the outlet of ${board}`, { clock: options.clock }, () =>
      outlet[Symbol.asyncDispose](),
    ).catch(() => undefined);
  }
}

/** A device that never answers must not hold up whoever asks. */
function bounded<T>(
  what: string,
  { clock, signal, timeoutMs = limits.powerCallMs }: CallOptions & { readonly clock: Clock },
  act: (call: CallOptions) => PromiseLike<T>,
): Promise<T> {
  const call = { timeoutMs, ...(signal !== undefined && { signal }) };
  return withDeadline(clock, what, call, async (inner) => act({ signal: inner, timeoutMs }));
}
