import type { PowerState } from '@bringup/core';
import * as v from 'valibot';

/** How an answer tells the state. One that both, or neither, match is `unknown`. */
export interface StatePatterns {
  readonly on: RegExp;
  readonly off: RegExp;
}

const pattern: v.GenericSchema<unknown, RegExp> = v.instance(RegExp, 'must be a regular expression');

/** Fields of {@link StatePatterns} in a schema of options. */
export const statePatterns: { readonly on: typeof pattern; readonly off: typeof pattern } = {
  on: pattern,
  off: pattern,
};

/** What an answer says. */
export function stateByPattern(answer: string, { on, off }: StatePatterns): PowerState {
  const isOn = matches(on, answer);
  if (isOn === matches(off, answer)) return 'unknown';
  return isOn ? 'on' : 'off';
}

/** Global expressions remember where they were; each answer is a new one. */
function matches(expression: RegExp, answer: string): boolean {
  return new RegExp(expression.source, expression.flags.replaceAll(/[gy]/g, '')).test(answer);
}
