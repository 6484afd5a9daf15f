import { BringupError } from '../errors.ts';
import type { Board } from '../model/resource.ts';
import { fullSequence } from '../pool/power-sequence.ts';
import type { PowerInput } from './records.ts';

/** Why a board is in recovery, or switched off. */
export function reasonOf({ action, by, reason }: PowerInput): string {
  const doing =
    action === 'off'
      ? 'its power was switched off'
      : action === 'on'
        ? 'its power is switched on'
        : 'its power is cycled';
  return `${doing} by ${by}: ${reason}`;
}

/** The error of a board that does not come back. */
export function silent(board: Board, action: PowerInput['action'], cycles: number): BringupError {
  const { recoveryMs } = fullSequence(board.powerSequence);
  const after = action === 'on' ? 'its power was switched on' : cycles > 1 ? `${cycles} power cycles` : 'a power cycle';
  return new BringupError(
    'boot-timeout',
    `${board.name} did not answer within ${Math.round(recoveryMs / 1000)} s after ${after}`,
    { details: { board: board.name, cycles, recoveryMs } },
  );
}

/** The error of a board that hangs on another outlet. */
export function neverOff(board: Board): BringupError {
  return new BringupError(
    'power-failed',
    `the outlet of ${board.name} was switched off and on, yet the board went on running: ` +
      'it has another supply, or the outlet is not the one it hangs on',
    { details: { board: board.name, control: { ...board.powerControl } } },
  );
}

/** What a person is told to do about it. */
export function explain(
  error: BringupError,
  cause: 'power-control' | 'no-answer',
): Pick<BringupError, 'message' | 'details'> {
  const advice =
    cause === 'power-control'
      ? 'Look after the outlet and its cabling, then cycle the power again or clear the intervention.'
      : 'Look at the board: its supply, its boot medium, its console. Nothing is allocated to it until then.';
  return { message: `${error.message}. ${advice}`, details: { ...error.details, code: error.code } };
}
